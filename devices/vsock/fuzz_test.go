package vsock

import (
	"log/slog"
	"sync"
	"testing"
)

// world is a switch as a hostile guest finds it: a parent played by Go, another
// enclave, and a connection of its own, at port 1234.
type world struct {
	sw     *Switch
	l      *Listener
	g      *guest
	victim *guest
	conn   *Conn
}

func newWorld(t *testing.T) *world {
	w := &world{sw: newSwitch(t, &Config{
		Log: slog.New(slog.DiscardHandler), MaxConns: 16, Backlog: 4, Window: 16 << 10,
	})}
	w.l = listen(t, w.sw, CIDParent, 9000)
	listen(t, w.sw, CIDHypervisor, ConsolePort(17))
	for cid, g := range map[uint32]**guest{17: &w.victim, 16: &w.g} {
		dev, err := w.sw.Attach(cid)
		must(t, err)
		*g = &guest{t: t, dev: dev, cid: cid, arena: 192 << 10}
		(*g).boot(8)
	}
	_, w.conn = w.g.connect(w.l, 1234)
	return w
}

// check fails if the guest got something malformed, or the switch holds more
// than it may, or somebody else heard of it.
func (w *world) check(t *testing.T) {
	t.Helper()
	for _, p := range w.g.take() {
		if p.DstCID != 16 || p.Op < OpRequest || p.Op > OpCreditRequest {
			t.Fatalf("guest got %+v", p)
		}
		w.g.rx.Add(nil, []int{rxBuffer})
	}
	w.victim.expect()
	d := w.g.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	live := 0
	for _, a := range d.accounts {
		if a.live > d.sw.cfg.MaxConns || a.resets.n > a.resets.limit {
			t.Fatalf("%d connections, %d resets with CID %d", a.live, a.resets.n, a.cid)
		}
		live += a.live
	}
	if d.own.live != 0 || d.own.resets.n > d.own.resets.limit || len(d.streams) > live {
		t.Fatalf("%d connections, %d counted", len(d.streams), live)
	}
	for _, s := range d.streams {
		s := s
		if n := len(s.buf.buf); n > 2*d.sw.cfg.Window {
			t.Fatalf("buffer of %d bytes", n)
		}
	}
}

// FuzzPacket sends one chain of arbitrary bytes in arbitrary segments.
func FuzzPacket(f *testing.F) {
	h := Header{SrcCID: 16, SrcPort: 1234, DstCID: 3, DstPort: 9000, Type: TypeStream, BufAlloc: 65536}
	for op := OpRequest; op <= OpCreditRequest; op++ {
		h.Op = op
		f.Add(wire(h), uint16(10), uint16(30))
	}
	h.Op, h.Len = OpRW, 5
	f.Add(append(wire(h), "hello"...), uint16(44), uint16(2))
	h.Len = 0xffffffff
	f.Add(append(wire(h), "hello"...), uint16(0), uint16(0))
	h.Len, h.DstCID, h.SrcPort = 0, 17, 5
	f.Add(wire(h), uint16(44), uint16(0))
	f.Add([]byte{1}, uint16(0), uint16(0))
	f.Fuzz(func(t *testing.T, data []byte, a, b uint16) {
		if len(data) == 0 || len(data) > 60<<10 {
			return
		}
		w := newWorld(t)
		i := min(int(a), len(data))
		j := min(i+int(b), len(data))
		var segments [][]byte
		for _, s := range [][]byte{data[:i], data[i:j], data[j:]} {
			if len(s) > 0 {
				segments = append(segments, s)
			}
		}
		for range 2 {
			w.g.tx.Add(segments, nil)
			w.g.handle(queueTx)
			w.g.tx.Used()
			w.check(t)
		}
	})
}

// FuzzConn plays a sequence of steps. Each takes four bytes: what to do, and
// three that say how.
func FuzzConn(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x05\x00\x10\x00\x0b\x00\x00\x00\x05\x00\x80\x00\x04\x00\x03\x00"))
	f.Add([]byte("\x01\x01\x00\x00\x09\x00\xff\x00\x0a\x01\x40\x01\x0c\x00\x00\x00\x06\x01\xff\xff"))
	f.Add([]byte("\x0d\x00\x00\x00\x0e\x00\x00\x00\x01\x00\x00\x00\x0f\x00\x00\x00\x05\x00\x01\x00"))
	f.Add([]byte("\x05\x00\xff\x3f\x05\x00\x02\x00\x07\x00\x00\x00\x03\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 400 {
			return
		}
		w := newWorld(t)
		conns := []*Conn{w.conn}
		var writers sync.WaitGroup
		defer writers.Wait()
		defer func() { must(t, w.sw.Close()) }()
		for ; len(program) >= 4; program = program[4:] {
			what, who, arg := program[0]%16, uint32(program[1]%4), uint32(program[2])|uint32(program[3])<<8
			p := w.g.conn(1234+who, CIDParent, 9000)
			if program[1]&0x80 != 0 {
				p.h.DstCID = uint64(CIDHost)
			}
			c := conns[int(who)%len(conns)]
			switch what {
			default: // a packet
				h := p.out(Op(what))
				h.BufAlloc, h.FwdCnt, h.Flags = arg<<2, arg, arg&3
				if h.Op == OpRW {
					h.BufAlloc = guestAlloc
					h.Len = arg & 0x3fff
					w.g.tx.Add([][]byte{wire(h), make([]byte, max(h.Len, 1))}, nil)
				} else {
					w.g.tx.Add([][]byte{wire(h)}, nil)
				}
				w.g.handle(queueTx)
				w.g.tx.Used()
			case 9:
				writers.Go(func() { _, _ = c.Write(make([]byte, arg)) })
			case 10:
				c.s.mu.Lock()
				n := c.s.buf.len()
				c.s.mu.Unlock()
				_, _ = c.Read(make([]byte, min(n, int(arg))))
			case 11:
				must(t, w.l.SetDeadline(aLongTimeAgo))
				if who == 0 {
					must(t, w.l.SetDeadline(never))
					w.l.mu.Lock()
					n := len(w.l.queue)
					w.l.mu.Unlock()
					if n > 0 {
						conns = append(conns, accept(t, w.l))
					}
				}
			case 12:
				_ = c.CloseWrite()
			case 13:
				_ = c.SetLinger(int(arg & 1))
				_ = c.Close()
			case 14:
				w.g.stop()
				w.g.boot(int(arg % 32))
			case 15:
				_ = c.CloseRead()
			}
			w.check(t)
		}
		for _, c := range conns {
			must(t, c.Close())
		}
	})
}
