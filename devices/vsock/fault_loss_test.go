package vsock

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

// Lost data does not come back, and neither does its credit.
func TestDropFromGuest(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 40)
	p, c := g.connect(l, 1234)
	f := toGo(FaultDrop)
	f.After, f.Limit = 1, 1
	i := inject(t, sw, f)
	p.write([]byte("one "))
	p.write(make([]byte, 60_000))
	p.write([]byte("three"))
	wantRead(t, c, []byte("one three"))
	wantHits(t, i, 1)
	g.send(p.out(OpCreditRequest))
	g.expect(p.in(OpCreditUpdate, 9))
}

func TestDropToGuest(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 40)
	_, c := g.connect(l, 1234)
	f := toGuest(FaultDrop)
	f.Over, f.Limit = 5000, 1
	i := inject(t, sw, f)
	for _, data := range [][]byte{[]byte("one "), make([]byte, 60_000), []byte("three")} {
		if n, err := c.Write(data); n != len(data) || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
	}
	var got []byte
	for _, f := range g.recv() {
		got = append(got, f.Data...)
	}
	if string(got) != "one three" {
		t.Errorf("guest got %q", got)
	}
	wantHits(t, i, 1)
	if left := c.s.send.sent - c.s.send.fwd; left != 60_009 {
		t.Errorf("%d bytes count as under way, want 60009", left)
	}
}

// Control packets get lost, too: a connection that is never answered, an end
// that is never heard of.
func TestDropControl(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	f := toGuest(FaultDrop)
	f.Op = OpResponse
	i := inject(t, sw, f)
	p := g.conn(1, CIDParent, 9000)
	g.send(p.out(OpRequest))
	c := accept(t, l)
	g.expect()
	i.Remove()
	g.expect() // it is lost, not held
	f.Op = OpShutdown
	i = inject(t, sw, f)
	must(t, c.CloseWrite())
	g.expect()
	wantHits(t, i, 1)

	f = toGo(FaultDrop)
	f.Op = OpRequest
	i = inject(t, sw, f)
	g.send(g.conn(2, CIDParent, 9000).out(OpRequest))
	g.expect()
	wantHits(t, i, 1)
}

func TestDropBetweenGuests(t *testing.T) {
	sw, parent, enclave := parentAndEnclave(t)
	pa, pb := join(t, parent, enclave, 5000)
	f := toGuest(FaultDrop)
	f.Limit = 1
	i := inject(t, sw, f)
	pa.write([]byte("lost"))
	pa.write([]byte("not lost"))
	if got := pb.collect(8); string(got) != "not lost" {
		t.Errorf("enclave got %q", got)
	}
	wantHits(t, i, 1)
}

func TestDropPartOfWrite(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 100)
	p, c := g.connect(l, 1234)
	f := toGuest(FaultDrop)
	f.After, f.Limit, f.Op = 1, 1, OpRW
	inject(t, sw, f)
	data := pattern(3*MaxPayload - 100)
	wrote := write(c, data)
	got := p.collect(len(data) - MaxPayload)
	must(t, <-wrote)
	if !bytes.Equal(got, append(data[:MaxPayload:MaxPayload], data[2*MaxPayload:]...)) {
		t.Error("not the second packet alone is lost")
	}
}

func TestReset(t *testing.T) {
	t.Run("from guest", func(t *testing.T) {
		sw := newSwitch(t, nil)
		l := listen(t, sw, CIDParent, 9000)
		g := attach(t, sw, 16, 8)
		p, c := g.connect(l, 1234)
		f := toGo(FaultReset)
		f.After = 1
		i := inject(t, sw, f)
		p.write([]byte("before"))
		p.write([]byte("after"))
		g.expect(p.rst())
		wantRead(t, c, []byte("before"))
		wantEnd(t, c, unix.ECONNRESET)
		wantHits(t, i, 1)
		g.send(g.conn(2, CIDParent, 9000).out(OpRequest))
		g.expect(g.conn(2, CIDParent, 9000).rst())
		if n := g.dev.Stats().Refused; n != 1 {
			t.Errorf("%d refused, want 1", n)
		}
	})
	t.Run("to guest", func(t *testing.T) {
		sw := newSwitch(t, nil)
		l := listen(t, sw, CIDParent, 9000)
		g := attach(t, sw, 16, 8)
		p, c := g.connect(l, 1234)
		i := inject(t, sw, toGuest(FaultReset))
		_, err := c.Write([]byte("x"))
		wantErr(t, err, unix.ECONNRESET)
		g.expect(p.rst())
		wantHits(t, i, 1)
		wantErr(t, (<-dial(t, sw, CIDParent, 16, 1)).err, unix.ECONNRESET)
	})
	t.Run("between guests", func(t *testing.T) {
		sw, parent, enclave := parentAndEnclave(t)
		pa, pb := join(t, parent, enclave, 5000)
		inject(t, sw, toGuest(FaultReset))
		pa.write([]byte("x"))
		parent.expect(pa.rst())
		enclave.await(OpRST)
		pb.write([]byte("x"))
		enclave.expect(pb.rst())
		wantStreams(t, parent.dev, 0)
		wantStreams(t, enclave.dev, 0)
	})
}
