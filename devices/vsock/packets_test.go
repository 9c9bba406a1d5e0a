package vsock

import (
	"bytes"
	"log/slog"
	"testing"
	"time"
)

// A hostileWorld is a parent that keeps to the protocol, two hostile enclaves and
// a bystander. Whatever a guest sends consists of bytes that say who it is.
type hostileWorld struct {
	t         *testing.T
	sw        *Switch
	parent    *guest
	enclaves  [2]*guest // 16 and 17
	buffers   [2]int    // receive buffers of each
	bystander *guest    // 18
	faults    []*Injection
}

func newHostileWorld(t *testing.T) *hostileWorld {
	w := &hostileWorld{t: t, sw: newSwitch(t, &Config{
		Log: slog.New(slog.DiscardHandler), MaxConns: 8, Window: leastWindow, Memory: 64 << 10, Backlog: 2,
	})}
	listen(t, w.sw, CIDHost, 80)
	listen(t, w.sw, CIDHypervisor, ConsolePort(16))
	attach := func(cid uint32, buffers int) *guest {
		dev, err := w.sw.Attach(cid)
		must(t, err)
		g := &guest{t: t, dev: dev, cid: cid, arena: 400 << 10}
		g.boot(buffers)
		return g
	}
	w.parent, w.bystander = attach(CIDParent, 60), attach(18, 20)
	w.enclaves = [2]*guest{attach(16, 20), attach(17, 20)}
	w.buffers = [2]int{20, 20}
	return w
}

// says fails unless data consists of the bytes of the guest it is said to be
// from.
func (w *hostileWorld) says(p packet, cid uint32) {
	w.t.Helper()
	for _, b := range p.Data {
		if b != byte(cid) {
			w.t.Fatalf("%v of %d:%d brings %d bytes of %#x to CID %d", p.Op, p.SrcCID, p.SrcPort, len(p.Data), b, p.DstCID)
		}
	}
}

// serve lets the parent do its part: it accepts connections to even ports and
// takes everything.
func (w *hostileWorld) serve() {
	w.t.Helper()
	for range 20 {
		got := w.parent.recv()
		if len(got) == 0 {
			return
		}
		for _, p := range got {
			if p.DstCID != 3 || p.SrcCID < 16 || p.SrcCID > 18 {
				w.t.Fatalf("the parent got %+v", p.Header)
			}
			w.says(p, uint32(p.SrcCID))
			c := w.parent.conn(p.DstPort, uint32(p.SrcCID), p.SrcPort)
			switch {
			case p.Op == OpRequest && p.DstPort%2 == 0:
				w.parent.send(c.out(OpResponse))
				w.parent.send(c.out(OpRW), []byte{3, 3, 3})
			case p.Op == OpRequest, p.Op == OpShutdown:
				w.parent.send(c.out(OpRST))
			case p.Op == OpRW:
				c.h.FwdCnt = p.Len // of the last packet only: an honest guest with a bad memory
				w.parent.send(c.out(OpCreditUpdate))
			}
		}
	}
}

// check is what has to hold whatever the two do.
func (w *hostileWorld) check() {
	w.t.Helper()
	w.serve()
	for _, g := range w.enclaves {
		for _, u := range g.rx.Used() {
			g.rx.Add(nil, []int{rxBuffer})
			if u.Len == 0 {
				continue // the buffer was too small
			}
			p := decode(w.t, bytes.Join(u.In, nil))
			switch {
			case p.DstCID != uint64(g.cid):
				w.t.Fatalf("CID %d got a packet for %d", g.cid, p.DstCID)
			case p.Op == OpRST: // from wherever it had tried
			case p.SrcCID != 2 && p.SrcCID != 3 || p.Op < OpRequest || p.Op > OpCreditRequest:
				w.t.Fatalf("CID %d got %+v", g.cid, p.Header)
			}
			w.says(p, 3)
		}
		g.handle(queueRx)
	}
	w.bystander.expect()
	for _, g := range []*guest{w.parent, w.enclaves[0], w.enclaves[1]} {
		w.bounded(g.dev)
	}
}

// bounded fails if the device keeps more than it may.
func (w *hostileWorld) bounded(d *Device) {
	w.t.Helper()
	cfg := &w.sw.cfg
	d.shelf.mu.Lock()
	if d.shelf.cost > cfg.Memory {
		w.t.Errorf("%d bytes are held", d.shelf.cost)
	}
	d.shelf.mu.Unlock()
	for _, s := range d.snapshot() {
		s.mu.Lock()
		if s.buf.len() > cfg.Window || len(s.send.ends) > 2*maxInFlight {
			w.t.Errorf("a buffer of %d bytes, %d packets under way", s.buf.len(), len(s.send.ends))
		}
		s.mu.Unlock()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.accounts) > 4 {
		w.t.Errorf("%d accounts", len(d.accounts))
	}
	for _, a := range d.accounts {
		if a.live > cfg.MaxConns || a.resets.n > a.resets.limit {
			w.t.Errorf("%d connections, %d resets with CID %d", a.live, a.resets.n, a.cid)
		}
	}
}

// step plays one record of 8 bytes.
func (w *hostileWorld) step(r [8]byte) {
	w.t.Helper()
	g := w.enclaves[r[0]&1]
	arg := uint32(r[6]) | uint32(r[7])<<8
	switch what := r[1] & 15; what {
	default: // a packet, mostly a sensible one
		p := g.conn(uint32(r[2]&7), [...]uint32{3, 2, 3, 2, 17, 16, 18, 0, 1, 99, 3, 3, 3, 2, 3, 3}[r[3]&15], uint32(r[4]&7))
		if r[3]&0xf0 == 0xf0 {
			p.h.SrcCID = uint64([...]uint32{3, 16, 17, 18}[r[4]>>6])
		}
		if r[2]&0xf8 == 0xf8 {
			p.h.Type = uint16(r[5])
		}
		h := p.out(Op(what))
		h.Flags, h.BufAlloc, h.FwdCnt = uint32(r[5]&3), uint32(r[5])<<8, arg
		var data []byte
		if what == uint8(OpRW) || r[5] == 0xff {
			data = make([]byte, 1+arg&0x7ff)
			for i := range data {
				data[i] = byte(g.cid)
			}
		}
		h.Len = uint32(len(data))
		if r[2]&0xf8 == 0xf0 {
			h.Len = arg
		}
		segments := [][]byte{wire(h)}
		if data != nil {
			segments = append(segments, data)
		}
		g.tx.Add(segments, nil)
		g.handle(queueTx)
		g.tx.Used()
	case 9: // the parent has something to say
		c := w.parent.conn(uint32(r[2]&7), 16+uint32(r[3]&1), uint32(r[4]&7))
		w.parent.send(c.out(Op(r[5]&7)), w.parentSays(Op(r[5]&7), arg))
	case 10:
		g.stop()
		w.buffers[r[0]&1] = int(r[2] & 31)
		g.boot(int(r[2] & 31))
	case 11:
		if n := &w.buffers[r[0]&1]; *n < 60 {
			*n++
			g.post(1, 16+int(arg&0x7ff)) // perhaps too small
		}
	case 12:
		f := Fault{
			Kind: FaultKind(1 + r[2]%4), From: [...]uint32{16, 17, 3, CIDAny}[r[3]&3], To: CIDAny,
			Op: Op(r[4] & 7), After: int(r[5] & 3), Limit: int(r[6] & 7), Seed: uint64(r[7]),
		}
		if f.Kind == FaultDelay {
			f.Delay = time.Duration(arg) * time.Microsecond / 64
			f.Delay = max(f.Delay, 1)
		}
		if len(w.faults) < 8 {
			w.faults = append(w.faults, inject(w.t, w.sw, f))
		}
	case 13:
		if len(w.faults) > 0 {
			w.faults[0].Remove()
			w.faults = w.faults[1:]
		}
	}
}

func (w *hostileWorld) parentSays(op Op, n uint32) []byte {
	if op != OpRW {
		return nil
	}
	b := make([]byte, 1+n&0x7ff)
	for i := range b {
		b[i] = 3
	}
	return b
}

// FuzzPackets plays the packets of two hostile enclaves that share a parent, with
// faults coming and going. Neither reaches the other or the bystander, what the
// switch keeps for them is bounded, and the parent serves the bystander
// afterwards.
func FuzzPackets(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x00\x02\x40\x00\x00" + "\x00\x05\x00\x00\x02\x40\x10\x00" + "\x01\x01\x01\x01\x04\x40\x00\x00" + "\x01\x05\x01\x01\x04\x40\xff\x0f" + "\x00\x04\x00\x00\x02\x03\x00\x00"))
	f.Add([]byte("\x00\x01\x00\x04\x02\x40\x00\x00" + "\x01\x01\x00\x05\x02\x40\x00\x00" + "\x00\x05\x00\xf4\x40\x40\x08\x00" + "\x01\x03\x00\xf5\x80\x40\x00\x00"))
	f.Add([]byte("\x00\x0c\x00\x00\x00\x00\x00\x00" + "\x00\x01\x00\x00\x02\x40\x00\x00" + "\x00\x05\x00\x00\x02\x40\xff\x1f" + "\x00\x0d\x00\x00\x00\x00\x00\x00" + "\x00\x0a\x05\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x01\x0b\x1f\x00\x00\x00\x00\x01" + "\x01\x01\x02\x03\x02\xff\x00\x10" + "\x00\x09\x02\x01\x02\x05\xff\x00" + "\x01\x0c\x03\x02\x00\x00\x00\x40" + "\x01\x06\x02\x00\x02\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 100*8 {
			return
		}
		w := newHostileWorld(t)
		for ; len(program) >= 8; program = program[8:] {
			w.step([8]byte(program))
			w.check()
		}
		for _, i := range w.faults {
			i.Remove()
		}
		w.check()
		p := w.bystander.conn(1, CIDParent, 2)
		w.bystander.send(p.out(OpRequest))
		w.parent.until(func(p packet) bool { return p.Op == OpRequest && p.SrcCID == 18 })
		w.parent.send(w.parent.conn(2, 18, 1).out(OpResponse))
		w.bystander.await(OpResponse)
		for _, g := range w.enclaves {
			must(t, g.dev.Close())
		}
		p.write([]byte{18})
		w.parent.until(func(p packet) bool { return p.Op == OpRW && p.SrcCID == 18 && bytes.Equal(p.Data, []byte{18}) })
	})
}
