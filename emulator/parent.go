package emulator

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/nitrolab/nitrolab/devices/vsock"
)

// firstCID is where the choice of enclave CIDs begins, as the hypervisor's; lower
// ones are for those who ask.
const firstCID = 16

// A parent is whose enclaves a Host runs: an [Instance], or the Host itself in the
// role of one. Each has vsock addresses of its own, as each instance of EC2 has.
type parent struct {
	instanceID string
	vsock      *vsock.Switch

	// heart answers the heartbeats of the enclaves. It is nil for an Instance,
	// where whoever started the enclave in the guest does.
	heart *heart

	starting sync.WaitGroup // starts of enclaves under way

	mu       sync.Mutex          // guards the fields below
	enclaves map[uint32]*Enclave // nil for a CID whose enclave is starting
	nextCID  uint32
	closed   bool
}

func newParent(instanceID string, sw *vsock.Switch) *parent {
	return &parent{instanceID: instanceID, vsock: sw, enclaves: map[uint32]*Enclave{}, nextCID: firstCID}
}

// list is the enclaves that run, by CID.
func (p *parent) list() []*Enclave {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]*Enclave, 0, len(p.enclaves))
	for _, e := range p.enclaves {
		if e != nil {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *Enclave) int { return cmp.Compare(a.cid, b.cid) })
	return list
}

// reserve takes the CID asked for, or the next free one for 0. The caller ends
// that with started or release, and calls starting.Done.
func (p *parent) reserve(cid uint32) (uint32, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, errClosed
	}
	taken := func(cid uint32) bool { _, ok := p.enclaves[cid]; return ok }
	if cid == 0 {
		for taken(p.nextCID) {
			p.advance()
		}
		cid = p.nextCID
		p.advance()
	}
	if taken(cid) {
		return 0, &RequestError{"enclave CID", fmt.Sprintf("%d, which another enclave has", cid), "one that is free"}
	}
	p.enclaves[cid] = nil
	p.starting.Add(1)
	return cid, nil
}

// advance moves nextCID on, around the end.
func (p *parent) advance() {
	if p.nextCID++; p.nextCID == vsock.CIDAny {
		p.nextCID = firstCID
	}
}

// started shows an enclave to the world.
func (p *parent) started(e *Enclave) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.enclaves[e.cid] = e
}

// release frees the CID of an enclave that has ended or never was.
func (p *parent) release(cid uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.enclaves, cid)
}

// refuse lets no enclave start any more.
func (p *parent) refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
}

// endEnclaves waits for starts under way, which the caller has made fail, and
// ends every enclave.
func (p *parent) endEnclaves() (errs []error) {
	p.starting.Wait()
	enclaves := p.list()
	for _, e := range enclaves {
		e.end(EndTerminated, nil) // all at once
	}
	for _, e := range enclaves {
		errs = append(errs, e.Close())
	}
	return errs
}

// forget ends the wait for an enclave's heartbeat.
func (p *parent) forget(cid uint32) {
	if p.heart != nil {
		p.heart.forget(cid)
	}
}

// dial opens a connection between two vsock addresses.
func (p *parent) dial(ctx context.Context, from, to, port uint32) (net.Conn, error) {
	c, err := p.vsock.Dial(ctx, from, to, port)
	if err != nil {
		return nil, err // not c: an interface that holds nil is not nil
	}
	return c, nil
}
