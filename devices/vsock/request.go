package vsock

import (
	"sync"

	"golang.org/x/sys/unix"
)

// refuse answers a packet that nobody wants with RST, unless it is one.
func (d *Device) refuse(k key, h *Header) {
	if h.Op == OpRST {
		return
	}
	if h.Op == OpRequest {
		d.note(&d.stats.refused, "destination", Addr{k.localCID, k.localPort}, "type", h.Type)
	}
	d.reset(reset{k, h.Type})
}

// request acts on a guest's wish to connect. It returns what receive returns.
func (d *Device) request(k key, h *Header) *Device {
	dst := Addr{canonical(d.cid, k.localCID), k.localPort}
	if !d.sw.allowed(d.cid, dst.CID) {
		d.refuse(k, h)
		return nil
	}
	guest, l := d.sw.lookup(dst)
	var ok bool
	switch {
	case l != nil:
		ok = d.accept(k, h, l)
	case guest != nil:
		ok = d.relay(k, h, guest)
	}
	if !ok {
		d.refuse(k, h)
		return nil
	}
	return guest
}

// accept connects a guest with a Go listener.
func (d *Device) accept(k key, h *Header, l *Listener) bool {
	s := newStream(d, k, stateOpen, new(sync.Mutex))
	s.pending = pendResponse
	s.send.update(h.BufAlloc, h.FwdCnt)
	c := newConn(s, l.addr, Addr{d.cid, k.guestPort})
	if d.add(s) != nil {
		return false
	}
	if !l.offer(c) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.kill(unix.ECONNREFUSED, false) // the caller sends the RST
		c.closed = true
		s.release()
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stateDead {
		d.enqueue(s)
	}
	return true
}
