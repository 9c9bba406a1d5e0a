package enclavestest

import (
	"bytes"
	"context"
	"math"
	"os"
	"slices"
	"strconv"

	"github.com/nitrolab/nitrolab/guest/enclaves"
)

// ImageOffset is where the driver says that images begin, 8 MiB.
const ImageOffset = 8 << 20

// A State is the life of an [Enclave].
type State int

// The states, in their order.
const (
	Init    State = iota // a slot that takes memory and CPUs
	Running              // started
	Ended                // ended by itself, not closed yet
	Closed               // given back
)

// An Enclave implements [enclaves.VM], and lets a test look at it and end it.
type Enclave struct {
	sys  *System
	slot uint64
	end  chan struct{} // closed when it ends by itself

	// Protected by sys.mu.
	state   State
	cid     uint64
	flags   uint64
	cpus    []uint32
	regions []enclaves.MemoryRegion
	memory  [][]byte
}

var _ enclaves.VM = (*Enclave)(nil)

// SlotUID implements [enclaves.VM].
func (e *Enclave) SlotUID() uint64 { return e.slot }

// State is the enclave's state now.
func (e *Enclave) State() State {
	e.sys.mu.Lock()
	defer e.sys.mu.Unlock()
	return e.state
}

// CID is the one that the enclave got.
func (e *Enclave) CID() uint64 {
	e.sys.mu.Lock()
	defer e.sys.mu.Unlock()
	return e.cid
}

// Debug reports whether it was started in debug mode.
func (e *Enclave) Debug() bool {
	e.sys.mu.Lock()
	defer e.sys.mu.Unlock()
	return e.flags&enclaves.DebugMode != 0
}

// CPUs are the enclave's, in the order in which they were added.
func (e *Enclave) CPUs() []uint32 {
	e.sys.mu.Lock()
	defer e.sys.mu.Unlock()
	return slices.Clone(e.cpus)
}

// Regions are the enclave's, in the order in which they were set.
func (e *Enclave) Regions() []enclaves.MemoryRegion {
	e.sys.mu.Lock()
	defer e.sys.mu.Unlock()
	return slices.Clone(e.regions)
}

// Memory is a copy of all regions, one behind the other.
func (e *Enclave) Memory() []byte {
	e.sys.mu.Lock()
	defer e.sys.mu.Unlock()
	return bytes.Join(e.memory, nil)
}

// Crash ends a running enclave, as its own exit or panic does.
func (e *Enclave) Crash() {
	e.sys.mu.Lock()
	defer e.sys.mu.Unlock()
	if e.state == Running {
		e.state = Ended
		close(e.end)
	}
}

// Wait implements [enclaves.VM].
func (e *Enclave) Wait(ctx context.Context) error {
	select {
	case <-e.end:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close implements [enclaves.VM].
func (e *Enclave) Close() error {
	e.sys.mu.Lock()
	defer e.sys.mu.Unlock()
	if e.state == Closed {
		return os.ErrClosed
	}
	e.state = Closed
	for _, id := range e.cpus {
		delete(e.sys.used, id)
	}
	return nil
}

// request does one ioctl under the lock, in the state that all need.
func (e *Enclave) request(op, object string, do func() error) error {
	e.sys.mu.Lock()
	defer e.sys.mu.Unlock()
	err := error(enclaves.ErrNotInInitState)
	switch e.state {
	case Init:
		err = do()
	case Closed:
		err = os.ErrClosed
	}
	if err != nil {
		return &enclaves.OpError{Op: op, Object: object, Err: err}
	}
	return nil
}

// AddVCPU implements [enclaves.VM]. Like the driver it takes whole cores one
// after the other when it may choose.
func (e *Enclave) AddVCPU(id uint32) (uint32, error) {
	err := e.request("NE_ADD_VCPU", "vCPU "+strconv.FormatUint(uint64(id), 10), func() error {
		s := e.sys
		if id == 0 {
			i := slices.IndexFunc(s.pool, func(c uint32) bool { return !s.used[c] })
			if i < 0 {
				return enclaves.ErrNoCPUsAvailInPool
			}
			id = s.pool[i]
		}
		switch {
		case s.used[id]:
			return enclaves.ErrVCPUAlreadyUsed
		case !slices.Contains(s.pool, id):
			return enclaves.ErrVCPUNotInCPUPool
		}
		s.used[id] = true
		e.cpus = append(e.cpus, id)
		return nil
	})
	return id, err
}

// ImageLoadInfo implements [enclaves.VM].
func (e *Enclave) ImageLoadInfo(flags uint64) (offset uint64, err error) {
	err = e.request("NE_GET_IMAGE_LOAD_INFO", "", func() error {
		if flags != enclaves.EIFImage {
			return enclaves.ErrInvalidFlagValue
		}
		offset = e.sys.offset
		return nil
	})
	return offset, err
}

// SetUserMemoryRegion implements [enclaves.VM].
func (e *Enclave) SetUserMemoryRegion(r enclaves.MemoryRegion) error {
	return e.request("NE_SET_USER_MEMORY_REGION", "", func() error {
		page := e.sys.mapped[r.Addr]
		switch {
		case r.Flags != enclaves.DefaultMemoryRegion:
			return enclaves.ErrInvalidFlagValue
		case r.Size == 0 || r.Size%enclaves.RegionAlignment != 0:
			return enclaves.ErrInvalidMemRegionSize
		case r.Addr%enclaves.RegionAlignment != 0:
			return enclaves.ErrUnalignedMemRegionAddr
		case slices.ContainsFunc(e.regions, func(o enclaves.MemoryRegion) bool { return r.Addr < o.Addr+o.Size && o.Addr < r.Addr+r.Size }):
			return enclaves.ErrMemRegionAlreadyUsed
		case uint64(len(page)) < r.Size:
			return enclaves.ErrMemNotHugePage
		case e.sys.maxRegions > 0 && len(e.regions) == e.sys.maxRegions:
			return enclaves.ErrMemMaxRegions
		}
		e.regions = append(e.regions, r)
		e.memory = append(e.memory, page[:r.Size])
		return nil
	})
}

// Start implements [enclaves.VM].
func (e *Enclave) Start(info enclaves.StartInfo) (enclaves.StartInfo, error) {
	err := e.request("NE_START_ENCLAVE", "", func() error {
		switch {
		case info.Flags > enclaves.DebugMode:
			return enclaves.ErrInvalidFlagValue
		case info.CID >= 1 && info.CID <= 3, info.CID >= math.MaxUint32:
			return enclaves.ErrInvalidEnclaveCID
		case len(e.regions) == 0:
			return enclaves.ErrNoMemRegionsAdded
		case e.size() < enclaves.MinMemory:
			return enclaves.ErrEnclaveMemMinSize
		case len(e.cpus) == 0:
			return enclaves.ErrNoVCPUsAdded
		case !e.wholeCores():
			return enclaves.ErrFullCoresNotUsed
		}
		if info.CID == 0 {
			info.CID = e.sys.nextCID
			e.sys.nextCID++
		}
		e.cid, e.flags = info.CID, info.Flags
		return nil
	})
	if err != nil {
		return info, err
	}
	// The device may look at the enclave, so the lock is free.
	if launch := e.sys.launch; launch != nil {
		if err := launch(e); err != nil {
			return info, &enclaves.OpError{Op: "NE_START_ENCLAVE", Err: err}
		}
	}
	return info, e.request("NE_START_ENCLAVE", "", func() error {
		e.state = Running
		return nil
	})
}

func (e *Enclave) size() (n uint64) {
	for _, r := range e.regions {
		n += r.Size
	}
	return n
}

func (e *Enclave) wholeCores() bool {
	threads := make(map[uint32]int)
	for _, id := range e.cpus {
		threads[id/uint32(e.sys.threads)]++
	}
	for _, n := range threads {
		if n != e.sys.threads {
			return false
		}
	}
	return true
}
