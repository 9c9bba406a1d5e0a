package vsock

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Switch connects the guests and Go endpoints of one Host with each other.
// It is safe for concurrent use. Switches know nothing of each other.
type Switch struct {
	cfg Config // as completed by NewSwitch; immutable

	// mu protects what follows.
	mu        sync.RWMutex
	closed    bool
	guests    map[uint32]*Device
	listeners map[Addr]*Listener
	ephemeral uint32 // port last given out

	// faults are the injected ones, nil if there are none. Loaded for every
	// packet, replaced as a whole under mu.
	faults atomic.Pointer[faults]

	loops loops
}

// Ephemeral ports, given out in turn. Below are the ports that services use.
const (
	firstEphemeral uint32 = 49152
	lastEphemeral  uint32 = PortAny - 1
)

// NewSwitch returns a switch without members. Its Close must be called.
func NewSwitch(cfg *Config) *Switch {
	return &Switch{
		cfg:       cfg.withDefaults(),
		guests:    make(map[uint32]*Device),
		listeners: make(map[Addr]*Listener),
		ephemeral: lastEphemeral,
	}
}

// Attach adds a guest and returns its device. The error wraps unix.EINVAL for
// the reserved CIDs 0, 1, 2 and 0xffffffff, unix.EADDRINUSE if a guest or a Go
// listener has the CID, and net.ErrClosed after Close.
func (sw *Switch) Attach(cid uint32) (*Device, error) {
	fail := func(err error) (*Device, error) {
		return nil, fmt.Errorf("vsock attach CID %d: %w", cid, err)
	}
	if cid < CIDParent || cid == CIDAny {
		return fail(unix.EINVAL)
	}
	sw.mu.Lock()
	defer sw.mu.Unlock()
	if sw.closed {
		return fail(net.ErrClosed)
	}
	if sw.guests[cid] != nil {
		return fail(unix.EADDRINUSE)
	}
	if sw.listens(cid) {
		return fail(unix.EADDRINUSE)
	}
	d := newDevice(sw, cid)
	sw.guests[cid] = d
	return d, nil
}

// detach forgets d. Its CID is free from then on.
func (sw *Switch) detach(d *Device) {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	if sw.guests[d.cid] == d {
		delete(sw.guests, d.cid)
	}
}

// lookup returns what is at an address: a guest, a listener, or neither.
func (sw *Switch) lookup(a Addr) (*Device, *Listener) {
	sw.mu.RLock()
	defer sw.mu.RUnlock()
	return sw.guests[a.CID], sw.listeners[a]
}

// Listen announces a Go endpoint at cid: [CIDParent] when the Host plays the
// parent, [CIDHypervisor] for a console, [CIDHost] for what the parent alone may
// ask of the Host (an enclave that dials CID 2 reaches its parent instead).
// [PortAny] chooses a port.
//
// Failures are *net.OpError with unix.EINVAL for CIDs 1 and 0xffffffff,
// unix.EADDRINUSE for an address or a guest's CID that is taken, and
// net.ErrClosed.
func (sw *Switch) Listen(cid, port uint32) (*Listener, error) {
	a := Addr{cid, port}
	fail := func(err error) (*Listener, error) {
		return nil, &net.OpError{Op: "listen", Net: a.Network(), Addr: a, Err: err}
	}
	if cid == CIDLocal || cid == CIDAny {
		return fail(unix.EINVAL)
	}
	sw.mu.Lock()
	defer sw.mu.Unlock()
	if sw.closed {
		return fail(net.ErrClosed)
	}
	if sw.guests[cid] != nil {
		return fail(unix.EADDRINUSE)
	}
	if port == PortAny {
		a.Port = sw.nextPort()
		for sw.listeners[a] != nil {
			a.Port = sw.nextPort()
		}
	}
	if sw.listeners[a] != nil {
		return fail(unix.EADDRINUSE)
	}
	l := newListener(sw, a)
	sw.listeners[a] = l
	return l, nil
}

func (sw *Switch) unlisten(l *Listener) {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	if sw.listeners[l.addr] == l {
		delete(sw.listeners, l.addr)
	}
}

// nextPort returns the next ephemeral port; mu is held.
func (sw *Switch) nextPort() uint32 {
	if sw.ephemeral >= lastEphemeral {
		sw.ephemeral = firstEphemeral - 1
	}
	sw.ephemeral++
	return sw.ephemeral
}

// Dial connects a Go endpoint at CID from to a port of a guest, or to a
// [Listener] of the same switch. from is whoever the caller plays: [CIDParent]
// towards an enclave, [CIDHost] towards a parent that is a guest. It waits for a
// guest that boots until ctx ends: a guest's driver that does not run yet finds
// the request when it does.
//
// Failures are *net.OpError with
//   - unix.ECONNREFUSED: nobody listens there;
//   - unix.EHOSTUNREACH: nobody has that CID;
//   - unix.EACCES: the policy does not allow it;
//   - unix.EADDRNOTAVAIL: from is a guest or can be nobody's CID;
//   - unix.ENOBUFS: the guest has [Config.MaxConns] connections;
//   - unix.ECONNRESET: the guest went away;
//   - the error of ctx, net.ErrClosed.
func (sw *Switch) Dial(ctx context.Context, from, to, port uint32) (*Conn, error) {
	src, dst := Addr{CID: from}, Addr{canonical(from, to), port}
	fail := func(err error) (*Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: dst.Network(), Source: src, Addr: dst, Err: err}
	}
	if from == CIDLocal || from == CIDAny {
		return fail(unix.EADDRNOTAVAIL)
	}
	sw.mu.Lock()
	closed, guest, taken := sw.closed, sw.guests[dst.CID], sw.guests[from] != nil
	l, listens := sw.listeners[dst], sw.listens(dst.CID)
	src.Port = sw.nextPort()
	sw.mu.Unlock()
	var c *Conn
	err := ctx.Err()
	switch {
	case err != nil:
	case closed:
		err = net.ErrClosed
	case taken:
		err = unix.EADDRNOTAVAIL
	case !sw.allowed(from, dst.CID):
		err = unix.EACCES
	case guest != nil:
		c, err = guest.dial(ctx, src, dst)
	case l != nil:
		c, err = l.dial(src)
	case listens:
		err = unix.ECONNREFUSED
	default:
		err = unix.EHOSTUNREACH
	}
	if err != nil {
		return fail(err)
	}
	return c, nil
}

// listens reports whether a Go endpoint has the CID; mu is held.
func (sw *Switch) listens(cid uint32) bool {
	for a := range sw.listeners {
		if a.CID == cid {
			return true
		}
	}
	return false
}

// Close closes all listeners and devices, and with them all connections.
func (sw *Switch) Close() error {
	sw.mu.Lock()
	sw.closed = true
	var guests []*Device
	for _, d := range sw.guests {
		guests = append(guests, d)
	}
	var listeners []*Listener
	for _, l := range sw.listeners {
		listeners = append(listeners, l)
	}
	sw.mu.Unlock()
	for _, l := range listeners {
		_ = l.Close() // always nil
	}
	for _, d := range guests {
		_ = d.Close() // always nil
	}
	sw.loops.close()
	return nil
}
