package vsock

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/virtio"
	"golang.org/x/sys/unix"
)

// When the guest's driver goes away, Go's connections are reset; when it comes
// back, the guest, which may only have been paused, hears of it first.
func TestDriverRestarts(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1234)
	p.write([]byte("before"))
	q, dc := g.answer(dial(t, sw, CIDParent, 16, 5000))
	pending := g.conn(1235, CIDParent, 9000)
	g.send(pending.out(OpRequest)) // in the backlog
	g.expect(pending.in(OpResponse, 0))

	h := p.out(OpRW)
	h.Len = 11
	g.tx.Add([][]byte{wire(h), []byte(", last word")}, nil) // no notification

	g.stop()
	wantRead(t, c, []byte("before, last word"))
	wantEnd(t, c, unix.ECONNRESET)
	wantEnd(t, dc, unix.ECONNRESET)
	_, err := c.Write([]byte("x"))
	wantErr(t, err, unix.ECONNRESET)
	wantEnd(t, accept(t, l), unix.ECONNRESET)

	g.boot(8)
	got := map[uint32]packet{}
	for _, f := range g.recv() {
		got[f.DstPort] = f
	}
	if len(got) != 3 || !equal(got[1234], p.rst()) || !equal(got[1235], pending.rst()) || !equal(got[5000], q.rst()) {
		t.Errorf("guest got %v, want three resets", got)
	}
	p2, c2 := g.connect(l, 1234)
	p2.write([]byte("anew"))
	wantRead(t, c2, []byte("anew"))
}

func equal(a, b packet) bool { return a.Header == b.Header && string(a.Data) == string(b.Data) }

// A Dial that the guest has not seen survives the driver's restart, one that it
// has does not.
func TestDialAcrossRestart(t *testing.T) {
	sw := newSwitch(t, nil)
	g := attach(t, sw, 16, 0)
	unseen := dial(t, sw, CIDParent, 16, 1)
	waitFor(t, func() bool { return readyStreams(g.dev) == 1 })
	g.stop()
	g.boot(8)
	_, c := g.answer(unseen)
	must(t, c.Close())
	g.await(OpShutdown)

	seen := dial(t, sw, CIDParent, 16, 2)
	g.await(OpRequest)
	g.stop()
	wantErr(t, (<-seen).err, unix.ECONNRESET)
}

func TestDeviceClose(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1234)
	other := attach(t, sw, 17, 8)
	op, oc := other.connect(l, 1234)
	waiting := dial(t, sw, CIDParent, 16, 7)
	g.await(OpRequest)

	must(t, g.dev.Close())
	must(t, g.dev.Close())
	wantEnd(t, c, unix.ECONNRESET)
	wantErr(t, (<-waiting).err, unix.ECONNRESET)
	found := false
	for _, f := range g.take() {
		found = found || equal(f, p.rst())
	}
	if !found {
		t.Error("the guest was not told")
	}

	// The old device is dead, whatever its transport still does with it.
	g.handle(queueRx)
	g.tx.Add([][]byte{wire(p.out(OpRequest))}, nil)
	g.handle(queueTx)
	g.stop()
	g.boot(8)
	g.tx.Add([][]byte{wire(p.out(OpRequest))}, nil)
	g.handle(queueTx)
	g.expect()

	// A Dial that had found it just before is not left waiting.
	_, err := g.dev.dial(t.Context(), Addr{CIDParent, 1}, Addr{16, 7})
	if !errors.Is(err, unix.EHOSTUNREACH) {
		t.Errorf("dial during Close: %v", err)
	}

	// Its CID is free, the other guest unharmed.
	_, err = sw.Dial(t.Context(), CIDParent, 16, 7)
	wantErr(t, err, unix.EHOSTUNREACH)
	attach(t, sw, 16, 8).connect(l, 1234)
	op.write([]byte("alive"))
	wantRead(t, oc, []byte("alive"))
}

func TestSwitchClose(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	_, c := g.connect(l, 1234)
	accepting := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepting <- err
	}()
	must(t, sw.Close())
	must(t, sw.Close())
	wantErr(t, <-accepting, net.ErrClosed)
	wantEnd(t, c, unix.ECONNRESET)
}

func TestTwoSwitches(t *testing.T) {
	a, b := newSwitch(t, nil), newSwitch(t, nil)
	la, lb := listen(t, a, CIDParent, 9000), listen(t, b, CIDParent, 9000)
	ga, gb := attach(t, a, 16, 8), attach(t, b, 16, 8)
	pa, ca := ga.connect(la, 1)
	pb, cb := gb.connect(lb, 1)
	pa.write([]byte("a"))
	pb.write([]byte("b"))
	wantRead(t, ca, []byte("a"))
	wantRead(t, cb, []byte("b"))
	must(t, a.Close())
	pb.write([]byte("c"))
	wantRead(t, cb, []byte("c"))
}

// A guest that breaks its receive queue is cut off, also when it is a Go writer
// that finds out.
func TestBrokenReceiveQueue(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	_, c := g.connect(l, 1234)
	g.take()
	g.rx.SetAvail(g.rx.Avail() + 1000)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, 8*rxBuffer))
		wrote <- err
	}()
	wantErr(t, <-wrote, unix.ECONNRESET)
	var ring *virtio.RingError
	if err := g.dev.HandleQueue(queueRx); !errors.As(err, &ring) {
		t.Errorf("HandleQueue: %v, want a ring error", err)
	}
	g.stop()
	g.boot(8)
	g.await(OpRST) // of the connection before
	g.connect(l, 1)
}

func TestBrokenTransmitQueue(t *testing.T) {
	sw := newSwitch(t, nil)
	g := attach(t, sw, 16, 8)
	g.tx.SetAvail(1000)
	var ring *virtio.RingError
	if err := g.dev.HandleQueue(queueTx); !errors.As(err, &ring) {
		t.Errorf("HandleQueue: %v, want a ring error", err)
	}
}

func TestListenerDeadlineAndClose(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	must(t, l.SetDeadline(time.Now().Add(-time.Second)))
	_, err := l.Accept()
	wantErr(t, err, os.ErrDeadlineExceeded)
	must(t, l.SetDeadline(time.Now().Add(time.Millisecond)))
	_, err = l.Accept()
	wantErr(t, err, os.ErrDeadlineExceeded)

	p := g.conn(1, CIDParent, 9000)
	g.send(p.out(OpRequest))
	g.expect(p.in(OpResponse, 0))
	must(t, l.Close())
	g.expect(p.rst())
	g.send(p.out(OpRequest))
	g.expect(p.rst())
	wantStreams(t, g.dev, 0)
	wantErr(t, l.SetDeadline(time.Time{}), net.ErrClosed)
}

// A guest that opens more than the listener takes is refused, and only it is.
func TestBacklog(t *testing.T) {
	sw := newSwitch(t, &Config{Backlog: 3})
	l := listen(t, sw, CIDParent, 9000)
	a, b := attach(t, sw, 16, 8), attach(t, sw, 17, 8)
	for i := range uint32(5) {
		p := a.conn(i, CIDParent, 9000)
		a.send(p.out(OpRequest))
		if i < 3 {
			a.expect(p.in(OpResponse, 0))
		} else {
			a.expect(p.rst())
		}
	}
	wantStreams(t, a.dev, 3)
	p := b.conn(1, CIDParent, 9000)
	b.send(p.out(OpRequest))
	b.expect(p.in(OpResponse, 0))
	// Accept makes room, in order of arrival.
	for i, want := range []Addr{{16, 0}, {16, 1}, {16, 2}, {17, 1}} {
		if got := accept(t, l).RemoteAddr(); got != want {
			t.Errorf("connection %d is from %v, want %v", i, got, want)
		}
	}
	p = a.conn(9, CIDParent, 9000)
	a.send(p.out(OpRequest))
	a.expect(p.in(OpResponse, 0))
}

// A guest has a limited number of connections. One counts until both sides are
// done with it, so a guest cannot fill the Host's memory with finished ones.
func TestConnectionLimit(t *testing.T) {
	sw := newSwitch(t, &Config{MaxConns: 2})
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p1, c1 := g.connect(l, 1)
	g.connect(l, 2)
	p3 := g.conn(3, CIDParent, 9000)
	g.send(p3.out(OpRequest))
	g.expect(p3.rst())

	p1.write([]byte("kept"))
	p1.shutdown(shutdownBoth)
	g.expect(p1.rst())
	g.send(p3.out(OpRequest))
	g.expect(p3.rst()) // c1 is not closed yet
	wantRead(t, c1, []byte("kept"))
	must(t, c1.Close())
	g.connect(l, 3)
}

// Thousands of connections at a time, each with data in both directions.
func TestThousandsOfConnections(t *testing.T) {
	const n = 4000
	sw := newSwitch(t, &Config{Window: minWindow})
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 100)
	peers := make([]*peer, n)
	conns := make([]*Conn, n)
	for i := range peers {
		peers[i], conns[i] = g.connect(l, uint32(i))
	}
	for i, p := range peers {
		msg := fmt.Appendf(nil, "message %d", i)
		p.write(msg)
		if _, err := conns[i].Write(msg); err != nil {
			t.Fatal(err)
		}
		got := g.recv()
		if len(got) != 1 || string(got[0].Data) != string(msg) || got[0].DstPort != uint32(i) {
			t.Fatalf("connection %d got %v", i, got)
		}
	}
	for i, c := range conns {
		wantRead(t, c, fmt.Appendf(nil, "message %d", i))
	}
	for i, p := range peers {
		p.shutdown(shutdownBoth)
		wantEnd(t, conns[i], io.EOF)
		must(t, conns[i].Close())
		g.recv()
	}
	wantStreams(t, g.dev, 0)
}

// The same with a server that accepts and closes: what is gone leaves nothing
// behind, not even a place in a queue.
func TestGuestWithoutBuffersAndBusyServer(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 0)
	first := g.conn(0, CIDParent, 9000)
	g.send(first.out(OpRequest)) // waits for a buffer, ahead of all others
	accept(t, l)
	for i := range uint32(1000) {
		p := g.conn(1+i, CIDParent, 9000)
		g.send(p.out(OpRequest))
		c := accept(t, l)
		g.send(p.out(OpRST))
		must(t, c.Close())
	}
	wantStreams(t, g.dev, 1)
	if n := readyStreams(g.dev); n != 1 {
		t.Errorf("%d connections wait for a buffer, want 1", n)
	}
	// Without a queue at all it is no different.
	g.dev.StopQueue(queueRx)
	for i := range uint32(1000) {
		p := g.conn(1+i, CIDParent, 9000)
		g.send(p.out(OpRequest))
		c := accept(t, l)
		g.send(p.out(OpRST))
		must(t, c.Close())
	}
	if n := readyStreams(g.dev); n != 1 {
		t.Errorf("%d connections wait for a buffer, want 1", n)
	}
}

// A guest that takes nothing and asks for everything costs a bounded amount of
// memory.
func TestGuestWithoutBuffers(t *testing.T) {
	sw := newSwitch(t, &Config{MaxConns: 500})
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 0)
	const n = 200_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	p := g.conn(0, CIDParent, 9000)
	for i := range uint32(n) {
		p.h.SrcPort = i
		p.h.DstPort = 9000 + i%2 // half of them refused anyway
		g.tx.Add([][]byte{wire(p.out(OpRequest))}, nil)
		if i%100 == 99 {
			g.handle(queueTx)
			g.tx.Used()
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("heap grew by %d bytes", grown)
	}
	st := g.dev.Stats()
	if want := uint64(n - defaultBacklog); st.Refused != want || st.LostRST == 0 {
		t.Errorf("%d refused, %d resets lost, want %d and some", st.Refused, st.LostRST, want)
	}
	// When it takes packets again, it gets the ones that were kept.
	g.post(100, rxBuffer)
	got := map[Op]int{}
	for _, p := range g.recv() {
		got[p.Op]++
	}
	// Its connections and the refusals take turns.
	if got[OpRST] != 50 || got[OpResponse] != 50 {
		t.Errorf("guest got %v", got)
	}
	_ = l
}
