package vsock

import (
	"bytes"
	"context"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A direction that is stalled holds what is sent, in order and with the end of
// it; the other direction and other connections go on.
func TestStallFromGuest(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 40)
	p, c := g.connect(l, 1234)
	q, d := g.connect(l, 1235)
	f := toGo(FaultStall)
	f.Port = 1234
	i := inject(t, sw, f)

	data := pattern(100_000)
	p.write(data[:50_000])
	p.write(data[50_000:])
	p.shutdown(ShutdownSend)
	wantNothing(t, c)
	q.write([]byte("not held"))
	wantRead(t, d, []byte("not held"))
	if _, err := c.Write([]byte("other way")); err != nil {
		t.Fatal(err)
	}
	if got := g.recv(); len(got) != 1 || string(got[0].Data) != "other way" || got[0].FwdCnt != 0 {
		t.Errorf("guest got %v", got)
	}

	i.Remove()
	wantRead(t, c, data)
	wantEnd(t, c, io.EOF)
	wantHits(t, i, 3)
	if got := i.Stats().Bytes; got != 100_000 {
		t.Errorf("%d bytes were hit", got)
	}
	waitFor(t, func() bool { return g.dev.shelf.n.Load() == 0 })
	if g.dev.shelf.cost != 0 {
		t.Errorf("%d bytes are still counted as held", g.dev.shelf.cost)
	}
}

// A request can be held like anything else.
func TestStallRequest(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	i := inject(t, sw, toGo(FaultStall))
	p := g.conn(1, CIDHost, 9000) // by the alias it is the same connection
	g.send(p.out(OpRequest))
	g.expect()
	i.Remove()
	g.await(OpResponse)
	accept(t, l)
}

func TestStallToGuest(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 40)
	_, c := g.connect(l, 1234)
	_, d := g.connect(l, 1235)
	f := toGuest(FaultStall)
	f.Port, f.Op = 1234, OpRW
	i := inject(t, sw, f)
	data := pattern(5000)
	wrote := write(c, data)
	waitFor(t, func() bool { return i.Stats().Hit == 1 })
	if _, err := d.Write([]byte("not held")); err != nil {
		t.Fatal(err)
	}
	if got := g.recv(); len(got) != 1 || string(got[0].Data) != "not held" {
		t.Errorf("guest got %v", got)
	}
	// What comes behind is held too, whatever it is.
	must(t, c.SetWriteDeadline(aLongTimeAgo))
	wantErr(t, <-wrote, os.ErrDeadlineExceeded)
	must(t, c.SetWriteDeadline(never))
	must(t, c.CloseWrite())
	g.expect()
	i.Remove()
	if got := g.await(OpShutdown); len(got) != 1 {
		t.Errorf("guest got %v", got)
	}
	wantHits(t, i, 1)
}

func TestStallDial(t *testing.T) {
	sw := newSwitch(t, nil)
	g := attach(t, sw, 16, 8)
	i := inject(t, sw, toGuest(FaultStall))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := sw.Dial(ctx, CIDParent, 16, 1)
		failed <- err
	}()
	waitFor(t, func() bool { return i.Stats().Hit == 1 })
	ch := dial(t, sw, CIDParent, 16, 2)
	waitFor(t, func() bool { return i.Stats().Hit == 2 })
	g.expect()
	cancel()
	wantErr(t, <-failed, context.Canceled)
	i.Remove()
	g.answer(ch)
	g.expect()
}

func TestStallBetweenGuests(t *testing.T) {
	sw, parent, enclave := parentAndEnclave(t)
	pa, pb := join(t, parent, enclave, 5000)
	qa, qb := parent.conn(77, 16, 6000), enclave.conn(6000, 3, 77)
	parent.send(qa.out(OpRequest))
	enclave.await(OpRequest)
	enclave.send(qb.out(OpResponse))
	parent.await(OpResponse)

	f := toGuest(FaultStall)
	f.Port = 5000
	i := inject(t, sw, f)
	data := pattern(150_000)
	for k := 0; k < len(data); k += 50_000 {
		pa.write(data[k : k+50_000])
	}
	qa.write([]byte("not held"))
	if got := qb.collect(8); string(got) != "not held" {
		t.Errorf("enclave got %q", got)
	}
	pb.write([]byte("other way"))
	if got := pa.collect(9); string(got) != "other way" { // its credit is held
		t.Errorf("parent got %q", got)
	}
	i.Remove()
	if !bytes.Equal(pb.collect(len(data)), data) {
		t.Error("data differs")
	}
}

// A guest that stays within its credit can fill its window with the smallest of
// packets while they are held, and costs no more than the window; one that does
// not is reset.
func TestStallIsBounded(t *testing.T) {
	sw := newSwitch(t, &Config{Window: minWindow})
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1234)
	i := inject(t, sw, toGo(FaultStall))
	data := pattern(minWindow)
	for _, b := range data {
		p.write([]byte{b})
	}
	for n := range uint32(1000) {
		p.h.BufAlloc = 10_000 + n
		g.send(p.out(OpCreditUpdate))
	}
	if cost := g.dev.shelf.cost; cost > minWindow+10*heldCost {
		t.Errorf("%d bytes are held", cost)
	}
	i.Remove()
	wantRead(t, c, data)
	waitFor(t, func() bool { return g.dev.shelf.n.Load() == 0 })
	c.s.mu.Lock()
	if got := c.s.send.alloc; got != 10_999 {
		t.Errorf("the guest's buffer is %d, want the last one it told, 10999", got)
	}
	c.s.mu.Unlock()

	i = inject(t, sw, toGo(FaultStall))
	p.write(data)
	p.write([]byte{1})
	g.await(OpRST)
	wantEnd(t, c, unix.EPROTO)
	if n := g.dev.shelf.n.Load(); n != 0 || g.dev.shelf.cost != 0 {
		t.Errorf("%d connections and %d bytes are still held", n, g.dev.shelf.cost)
	}
	i.Remove()
	must(t, c.Close())
	wantStreams(t, g.dev, 0)
}

// What is held of a guest is bounded by its memory, whatever it sends.
func TestStallOfManyIsBounded(t *testing.T) {
	for name, cfg := range map[string]Config{
		"memory":      {Memory: 64 << 10},
		"connections": {MaxConns: 20},
	} {
		t.Run(name, func(t *testing.T) {
			sw := newSwitch(t, &cfg)
			l := listen(t, sw, CIDParent, 9000)
			g := attach(t, sw, 16, 60)
			i := inject(t, sw, toGo(FaultStall))
			for n := range uint32(1000) {
				p := g.conn(n, CIDParent, 9000)
				g.send(p.out(OpRequest))
				g.send(p.out(OpCreditRequest))
				if cost, n := g.dev.shelf.cost, int(g.dev.shelf.n.Load()); cost > sw.cfg.Memory || n > sw.cfg.MaxConns {
					t.Fatalf("%d bytes of %d connections are held", cost, n)
				}
				g.recv()
			}
			if n := g.dev.Stats().Refused; n == 0 {
				t.Error("no request was refused")
			}
			i.Remove()
			waitFor(t, func() bool { return g.dev.shelf.n.Load() == 0 })
			if g.dev.shelf.cost != 0 {
				t.Errorf("%d bytes are still counted as held", g.dev.shelf.cost)
			}
			must(t, l.Close())
		})
	}
}

// Whatever the number of packets held, nothing remains of them. While they are,
// nobody looks at them.
func TestStallOfManyPackets(t *testing.T) {
	for _, n := range []int{1, releaseBatch - 1, releaseBatch, releaseBatch + 1, 5*releaseBatch + 1} {
		sw := newSwitch(t, nil)
		l := listen(t, sw, CIDParent, 9000)
		g := attach(t, sw, 16, 8)
		p, c := g.connect(l, 1234)
		f := toGo(FaultStall)
		f.Limit = 1
		i := inject(t, sw, f)
		p.write([]byte("a"))
		for range n - 1 {
			g.send(p.out(OpCreditRequest)) // none of them can be merged
		}
		g.dev.shelf.mu.Lock()
		if !g.dev.shelf.next.IsZero() {
			t.Error("the pump has to look at packets that cannot go")
		}
		g.dev.shelf.mu.Unlock()
		wantHits(t, i, 1)
		i.Remove()
		wantRead(t, c, []byte("a"))
		waitFor(t, func() bool { return g.dev.shelf.n.Load() == 0 })
	}
}

// A device that is detached with packets held lets them go.
func TestDetachWithHeldPackets(t *testing.T) {
	sw, parent, enclave := parentAndEnclave(t)
	pa, _ := join(t, parent, enclave, 5000)
	i := inject(t, sw, Fault{Kind: FaultStall, From: CIDAny, To: CIDAny})
	pa.write([]byte("held"))
	must(t, parent.dev.Close())
	enclave.await(OpRST)
	i.Remove()
	wantStreams(t, enclave.dev, 0)
}
