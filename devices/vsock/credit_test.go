package vsock

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever is written, in whatever pieces, no kernel's accounting trips, and
// data always moves on when the guest has consumed everything.
func TestSendCreditAgainstKernels(t *testing.T) {
	const truesize = 576 // SKB_TRUESIZE(0) on x86-64
	for _, alloc := range []uint32{1, 128, 1000, 4096, 64 << 10, 256 << 10, 8 << 20} {
		rnd := rand.New(rand.NewPCG(1, uint64(alloc)))
		start := uint32(0xffff0000) // wraps soon
		s := sendCredit{sent: start, fwd: start}
		s.update(alloc, start)
		var queue []int // packets that the guest has not consumed
		queued, fwd := 0, start
		for range 20000 {
			if rnd.IntN(3) > 0 {
				want := 1 + rnd.IntN(1<<uint(rnd.IntN(17)))
				n := s.allowance(want)
				if n == 0 {
					if queued == 0 {
						t.Fatalf("alloc %d: blocked with nothing under way", alloc)
					}
					continue
				}
				if n > want {
					t.Fatalf("alloc %d: allowance %d for %d", alloc, n, want)
				}
				s.consume(n)
				queue = append(queue, n)
				queued += n
				if queued > int(alloc) {
					t.Fatalf("alloc %d: %d bytes under way", alloc, queued)
				}
				if over := len(queue) * truesize; len(queue) > 1 && over+queued > int(alloc) {
					t.Fatalf("alloc %d: %d bytes in %d packets would reset the connection", alloc, queued, len(queue))
				}
				continue
			}
			for range rnd.IntN(1 + len(queue)) {
				queued -= queue[0]
				fwd += uint32(queue[0])
				queue = queue[1:]
			}
			s.update(alloc, fwd)
		}
		if int32(fwd-start) < 0 {
			t.Errorf("alloc %d: counters did not move on", alloc)
		}
	}
}

func TestSendCreditUpdate(t *testing.T) {
	for _, tt := range []struct {
		name       string
		alloc, fwd uint32
		want       int // allowance for much
	}{
		{"nothing new", 10000, 100, 10000 - 2000 - 2*packetOverhead},
		{"all consumed", 10000, 2100, 10000},
		{"part of a packet", 10000, 600, 10000 - 1500 - 2*packetOverhead},
		{"stale", 10000, 50, 10000 - 2000 - 2*packetOverhead},
		{"ahead of what was sent", 10000, 2101, 10000 - 2000 - 2*packetOverhead},
		{"far ahead", 10000, 1 << 31, 10000 - 2000 - 2*packetOverhead},
		{"buffer grew", 1 << 20, 100, 1<<20 - 2000 - 2*packetOverhead},
		{"buffer below what is under way", 1000, 100, 0},
		{"no buffer", 0, 100, 0},
		{"no buffer, all consumed", 0, 2100, 0},
		{"most of the range", 0xffffffff, 100, 0xffffffff - 2000 - 2*packetOverhead},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := sendCredit{sent: 100, fwd: 100}
			s.update(10000, 100)
			s.consume(2000)
			s.update(tt.alloc, tt.fwd)
			if got := s.allowance(1 << 40); got != tt.want {
				t.Errorf("allowance %d, want %d", got, tt.want)
			}
		})
	}
}

func TestReceiveCredit(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1234)

	data := pattern(defaultWindow)
	for i := 0; i < len(data); i += 65536 {
		p.write(data[i : i+65536])
	}
	g.expect() // nobody has read

	const quarter = defaultWindow / 4
	wantRead(t, c, data[:quarter-1])
	g.expect()
	wantRead(t, c, data[quarter-1:quarter])
	g.expect(p.in(OpCreditUpdate, quarter))
	wantRead(t, c, data[quarter:quarter+10])
	g.expect()

	// A request is answered at once and counts as an update.
	g.send(p.out(OpCreditRequest))
	g.expect(p.in(OpCreditUpdate, quarter+10))
	wantRead(t, c, data[quarter+10:2*quarter+9])
	g.expect()
	// So does data.
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	want := p.in(OpRW, 2*quarter+9)
	want.Len, want.Data = 1, []byte("x")
	g.expect(want)
	wantRead(t, c, data[2*quarter+9:2*quarter+10])
	g.expect()

	// However often it asks before we can answer, the answer is one packet.
	for range 50 {
		g.send(p.out(OpCreditRequest))
	}
	if n := len(g.take()); n > 8 {
		t.Errorf("%d answers with 8 buffers", n)
	}
}

// A guest may have as much under way as it was granted, and not a byte more.
func TestOverrun(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1234)
	other, oc := g.connect(l, 1235)
	data := pattern(defaultWindow)
	for i := 0; i < len(data); i += 65536 {
		p.write(data[i : i+65536])
	}
	p.write([]byte{1})
	g.expect(p.rst())
	wantRead(t, c, data)
	wantEnd(t, c, unix.EPROTO)
	if got := g.dev.Stats().Overruns; got != 1 {
		t.Errorf("%d overruns counted, want 1", got)
	}
	p.write([]byte{1}) // the connection is gone
	g.expect(p.rst())
	other.write([]byte("alive"))
	wantRead(t, oc, []byte("alive"))
}

// Counters run modulo 2^32.
func TestCountersWrapAround(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 120)
	p, c := g.connect(l, 1234)

	const start = 0xffffffff - 1000
	c.s.mu.Lock()
	c.s.recv.received, c.s.recv.fwd, c.s.recv.told = start, start, start
	c.s.send.sent, c.s.send.fwd = start, start
	c.s.mu.Unlock()
	p.h.FwdCnt = start

	data := pattern(100 << 10)
	fwd := uint32(start)
	for round := range 8 {
		for i := 0; i < len(data); i += 51200 {
			p.write(data[i : i+51200])
		}
		wantRead(t, c, data)
		fwd += uint32(len(data))
		g.expect(p.in(OpCreditUpdate, fwd))

		if _, err := c.Write(data); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for _, f := range g.recv() {
			got = append(got, f.Data...)
			if f.FwdCnt != fwd {
				t.Fatalf("round %d: fwd_cnt %#x, want %#x", round, f.FwdCnt, fwd)
			}
		}
		if !bytes.Equal(got, data) {
			t.Fatalf("round %d: data differs", round)
		}
		p.h.FwdCnt += uint32(len(data))
		g.send(p.out(OpCreditUpdate))
	}
	// The window is still exact.
	for range 4 {
		p.write(make([]byte, 65536))
	}
	g.expect()
	p.write([]byte{1})
	g.expect(p.rst())
}

// The guest's credit is never exceeded, and what waits for it goes on when it
// comes.
func TestSendWaitsForCredit(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 100)
	p := g.conn(1234, CIDParent, 9000)
	p.h.BufAlloc = 10000
	g.send(p.out(OpRequest))
	g.expect(p.in(OpResponse, 0))
	c := accept(t, l)

	data := pattern(50000)
	wrote := make(chan error, 1)
	go func() {
		n, err := c.Write(data)
		if n != len(data) {
			t.Errorf("wrote %d bytes", n)
		}
		wrote <- err
	}()
	var got []byte
	for len(got) < len(data) {
		for _, f := range g.until(func(p packet) bool { return p.Op == OpRW }) {
			got = append(got, f.Data...)
		}
		if under := len(got) - int(p.h.FwdCnt); under > 10000 {
			t.Fatalf("%d bytes under way, granted 10000", under)
		}
		p.h.FwdCnt = uint32(len(got))
		g.send(p.out(OpCreditUpdate))
	}
	must(t, <-wrote)
	if !bytes.Equal(got, data) {
		t.Error("data differs")
	}
}

// Short packets cost a Linux guest more than their payload. We stop before it
// would reset the connection.
func TestShortPacketsAreCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw := newSwitch(t, nil)
		l := listen(t, sw, CIDParent, 9000)
		g := attach(t, sw, 16, 120)
		_, c := g.connect(l, 1234)
		must(t, c.SetWriteDeadline(time.Now().Add(time.Second)))
		wrote := make(chan int, 1)
		go func() {
			n := 0
			for ; ; n++ {
				if _, err := c.Write(make([]byte, 200)); err != nil {
					wantErr(t, err, os.ErrDeadlineExceeded)
					break
				}
			}
			wrote <- n
		}()
		packets, requests := 0, 0
		for done := false; !done; {
			select {
			case n := <-wrote:
				done = true
				if n != packets {
					t.Errorf("%d packets for %d writes", packets, n)
				}
			case <-g.rx.Interrupted():
			}
			for _, f := range g.recv() {
				switch f.Op {
				case OpRW:
					packets++
				case OpCreditRequest:
					requests++
				}
			}
		}
		if packets*576 > guestAlloc || packets*(packetOverhead+200) < guestAlloc-2*(packetOverhead+200) {
			t.Errorf("%d unread packets for a buffer of %d", packets, guestAlloc)
		}
		// After 5, 15, 35, 75, 155, 315, 635 ms.
		if requests != 7 {
			t.Errorf("%d credit requests in a second, want 7", requests)
		}
	})
}

// A guest whose buffer is full speaks up by itself; we ask rarely. Its answer
// lets the data flow again.
func TestCreditRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw := newSwitch(t, nil)
		l := listen(t, sw, CIDParent, 9000)
		g := attach(t, sw, 16, 100)
		p := g.conn(1234, CIDParent, 9000)
		p.h.BufAlloc = 500
		g.send(p.out(OpRequest))
		g.expect(p.in(OpResponse, 0))
		c := accept(t, l)
		wrote := make(chan error, 1)
		go func() {
			_, err := c.Write(make([]byte, 1000))
			wrote <- err
		}()
		start := time.Now()
		synctest.Wait()
		if got := g.recv(); len(got) != 1 || got[0].Len != 500 {
			t.Fatalf("guest got %v", got)
		}
		for range 3 {
			g.await(OpCreditRequest)
			g.send(p.out(OpCreditUpdate)) // nothing consumed
		}
		// 100, 200 and 400 ms.
		if got, want := time.Since(start), 700*time.Millisecond; got != want {
			t.Errorf("third request after %v, want %v", got, want)
		}
		g.await(OpCreditRequest)
		p.h.FwdCnt = 500
		g.send(p.out(OpCreditUpdate))
		must(t, <-wrote)
		if got := g.recv(); len(got) != 1 || got[0].Len != 500 {
			t.Fatalf("guest got %v", got)
		}
		// Nothing is left that would ask.
		time.Sleep(time.Minute)
		g.expect()
	})
}

// A guest that grants more than it has, or everything, gets no more than a
// bounded number of packets ahead.
func TestHugeGrant(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 100)
	p := g.conn(1234, CIDParent, 9000)
	p.h.BufAlloc = 0xffffffff
	g.send(p.out(OpRequest))
	g.expect(p.in(OpResponse, 0))
	c := accept(t, l)
	must(t, c.SetWriteDeadline(time.Now().Add(300*time.Millisecond)))
	wrote := make(chan int, 1)
	go func() {
		n := 0
		for ; ; n++ {
			if _, err := c.Write([]byte{1}); err != nil {
				break
			}
		}
		wrote <- n
	}()
	for {
		g.recv()
		select {
		case <-g.rx.Interrupted():
			continue
		case n := <-wrote:
			if n != maxInFlight {
				t.Errorf("%d packets under way, want %d", n, maxInFlight)
			}
		}
		break
	}
}

// The windows of all connections of a guest stay within the memory configured,
// and every connection has one that is useful.
func TestWindowsShrink(t *testing.T) {
	cfg := (&Config{}).withDefaults()
	used, n, last := 0, 0, cfg.Window
	for range cfg.MaxConns {
		w := cfg.window(used)
		if w > last || w < minWindow {
			t.Fatalf("connection %d: window %d after %d", n, w, last)
		}
		used, last = used+w, w
		if w == cfg.Window {
			n++
		}
	}
	if limit := cfg.Memory + cfg.MaxConns*minWindow; used > limit {
		t.Errorf("%d bytes granted, want at most %d", used, limit)
	}
	if n < 150 {
		t.Errorf("only %d connections with a full window", n)
	}
	small := (&Config{Window: 4096}).withDefaults()
	if w := small.window(1 << 40); w != 4096 {
		t.Errorf("window %d with Window 4096", w)
	}
}
