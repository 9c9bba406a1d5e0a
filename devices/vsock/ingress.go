package vsock

import (
	"time"

	"golang.org/x/sys/unix"
)

// disturb does to a packet of the guest what the faults want and delivers it
// otherwise. It returns what deliver returns.
func (d *Device) disturb(fs *faults, k key, h *Header, out [][]byte) *Device {
	if !h.wellFormed(length(out)) || int(h.Len) > d.sw.cfg.Window {
		return d.deliver(k, h, out) // the guest's own fault
	}
	var v verdict
	if fs != nil {
		v = fs.judge(sighting{
			from: Addr{d.cid, k.guestPort},
			to:   Addr{canonical(d.cid, k.localCID), k.localPort},
			op:   h.Op,
			n:    int(h.Len),
		})
	}
	switch {
	case v.drop:
		return nil
	case v.reset:
		d.cut(k, h, unix.ECONNRESET)
		return nil
	}
	p := heldPacket{h: *h, stall: v.stall}
	if v.delay > 0 {
		p.due = time.Now().Add(v.delay)
	}
	if v.held() || v.flips != nil || d.shelf.n.Load() != 0 {
		p.data = gathered(out, HeaderSize, int(h.Len))
		apply(v.flips, 0, p.data)
		out = [][]byte{make([]byte, HeaderSize), p.data}
	}
	switch d.shelf.hold(k, p, v.held(), &d.sw.cfg) {
	case holdPasses:
		return d.deliver(k, h, out)
	case holdFull:
		d.note(&d.stats.overruns, "held", h.Op, "len", h.Len)
		d.cut(k, h, unix.EPROTO)
	}
	d.wake()
	return nil
}

// cut ends the connection of a packet that is not delivered.
func (d *Device) cut(k key, h *Header, err error) {
	d.shelf.drop(k)
	if s := d.find(k); s != nil {
		s.abort(err)
		return
	}
	d.refuse(k, h)
}

// releaseBatch is how many packets release takes from one connection before
// others have their turn.
const releaseBatch = 64

// release delivers the held packets that may go, and returns how long to wait
// for the next one, 0 for ever. Only the pump calls it.
func (d *Device) release(now time.Time) time.Duration {
	ks, wait := d.shelf.due(now)
	if ks == nil {
		return wait
	}
	for _, k := range ks {
		for range releaseBatch {
			p, ok := d.shelf.take(k, now)
			if !ok {
				break
			}
			if to := d.deliver(k, &p.h, [][]byte{make([]byte, HeaderSize), p.data}); to != nil {
				to.wake()
			}
		}
		d.shelf.again(k)
	}
	d.wake() // for what remains, once the pump has sent the answers
	return 0
}

// letGo looks again at everything that a fault holds.
func (d *Device) letGo() {
	d.shelf.mu.Lock()
	d.shelf.look(time.Time{})
	d.shelf.mu.Unlock()
	for _, s := range d.snapshot() {
		s.mu.Lock()
		if s.egress != nil && s.state != stateDead {
			d.enqueue(s)
		}
		s.mu.Unlock()
	}
	d.wake()
}
