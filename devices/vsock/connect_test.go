package vsock

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/weaken"
)

func TestGuestConnects(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1234)
	if got, want := c.LocalAddr(), (Addr{3, 9000}); got != want {
		t.Errorf("local address %v, want %v", got, want)
	}
	if got, want := c.RemoteAddr(), (Addr{16, 1234}); got != want {
		t.Errorf("remote address %v, want %v", got, want)
	}
	p.write([]byte{0xb7})
	wantRead(t, c, []byte{0xb7})
	if _, err := c.Write([]byte{0xb7}); err != nil {
		t.Fatal(err)
	}
	want := p.in(OpRW, 1)
	want.Len, want.Data = 1, []byte{0xb7}
	g.expect(want)
	if got := g.dev.Stats(); got != (Stats{Connections: 1, BytesIn: 1, BytesOut: 1}) {
		t.Errorf("stats %+v", got)
	}
}

// An enclave that dials CID 2 reaches its parent, and the replies come from
// CID 2, or its socket would not match them.
func TestHostIsAnAliasOfTheParent(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p := g.conn(1234, CIDHost, 9000)
	g.send(p.out(OpRequest))
	g.expect(p.in(OpResponse, 0))
	c := accept(t, l)
	if got, want := c.LocalAddr(), (Addr{3, 9000}); got != want {
		t.Errorf("local address %v, want %v", got, want)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	want := p.in(OpRW, 0)
	want.Len, want.Data = 1, []byte("x")
	g.expect(want)
	must(t, c.Close())
	bye := p.in(OpShutdown, 0)
	bye.Flags = shutdownBoth
	g.expect(bye)
}

// What nobody wants is refused at once, with exactly the addresses the guest
// used.
func TestRefusal(t *testing.T) {
	request := func(p *peer) Header { return p.out(OpRequest) }
	typed := func(typ uint16, op Op) func(p *peer) Header {
		return func(p *peer) Header {
			p.h.Type = typ
			return p.out(op)
		}
	}
	other := func(op Op) func(p *peer) Header {
		return func(p *peer) Header { return p.out(op) }
	}
	for _, tt := range []struct {
		name    string
		from    uint32
		cid     uint32
		port    uint32
		packet  func(*peer) Header
		refused uint64
		silent  bool
	}{
		{"port without listener", 16, 3, 1, request, 1, false},
		{"port without listener, by alias", 16, 2, 1, request, 1, false},
		{"unknown CID", 16, 99, 9000, request, 1, false},
		{"another enclave", 16, 17, 9000, request, 1, false},
		{"itself", 16, 16, 9000, request, 1, false},
		{"Go endpoint that is not the parent", 16, 50, 9000, request, 1, false},
		{"console, from an enclave", 16, 0, 10016, request, 1, false},
		{"console without listener, from the parent", 3, 0, 10099, request, 1, false},
		{"loopback", 16, 1, 9000, request, 1, false},
		{"wildcard", 16, 0xffffffff, 9000, request, 1, false},
		{"parent to the host alias", 3, 2, 9000, request, 1, false},
		{"parent to itself", 3, 3, 9000, request, 1, false},
		{"parent to loopback", 3, 1, 9000, request, 1, false},
		{"seqpacket", 16, 3, 9000, typed(TypeSeqpacket, OpRequest), 1, false},
		{"datagram", 16, 3, 9000, typed(3, OpRW), 0, false},
		{"type zero", 16, 3, 9000, typed(0, OpRequest), 1, false},
		{"reset of a strange type", 16, 3, 9000, typed(9, OpRST), 0, true},
		{"data without connection", 16, 3, 9000, other(OpRW), 0, false},
		{"response without request", 16, 3, 9000, other(OpResponse), 0, false},
		{"shutdown without connection", 16, 3, 9000, other(OpShutdown), 0, false},
		{"credit without connection", 16, 3, 9000, other(OpCreditUpdate), 0, false},
		{"reset without connection", 16, 3, 9000, other(OpRST), 0, true},
		{"invalid operation", 16, 3, 9000, other(0), 0, false},
		{"unknown operation", 16, 3, 9000, other(8), 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sw := newSwitch(t, nil)
			if tt.from != CIDParent {
				listen(t, sw, CIDParent, 9000)
			}
			listen(t, sw, CIDHypervisor, 10016)
			listen(t, sw, 50, 9000)
			g := attach(t, sw, tt.from, 8)
			other := attach(t, sw, 17, 8)
			p := g.conn(1234, tt.cid, tt.port)
			h := tt.packet(p)
			g.send(h)
			if tt.silent {
				g.expect()
			} else {
				g.expect(p.rst())
			}
			if got := g.dev.Stats().Refused; got != tt.refused {
				t.Errorf("%d refused, want %d", got, tt.refused)
			}
			other.expect()
		})
	}
}

// The parent guest may open a console and an enclave may not, whoever plays
// the parent.
func TestConsoleIsForTheParent(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDHypervisor, ConsolePort(16))
	parent := attach(t, sw, CIDParent, 8)
	_, c := parent.connect(l, 5)
	if got, want := c.LocalAddr(), (Addr{0, 10016}); got != want {
		t.Errorf("local address %v, want %v", got, want)
	}
}

func TestSpoofedSourceIsDropped(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	victim := attach(t, sw, 17, 8)
	vp, vc := victim.connect(l, 1234)

	for _, src := range []uint64{17, 3, 16 | 1<<32} {
		p := g.conn(1234, CIDParent, 9000)
		p.h.SrcCID = src
		for _, op := range []Op{OpRequest, OpRW, OpRST, OpShutdown} {
			h := p.out(op)
			h.Flags = shutdownBoth
			g.send(h)
		}
	}
	g.expect()
	victim.expect()
	if got := g.dev.Stats().Spoofed; got != 12 {
		t.Errorf("%d spoofed packets counted, want 12", got)
	}
	vp.write([]byte("still here"))
	wantRead(t, vc, []byte("still here"))
}

// Upper halves of CIDs are reserved. A destination with one is no address.
func TestWideDestination(t *testing.T) {
	sw := newSwitch(t, nil)
	listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p := g.conn(1234, CIDParent, 9000)
	p.h.DstCID |= 1 << 32
	g.send(p.out(OpRequest))
	g.expect()
	if got := g.dev.Stats().Malformed; got != 1 {
		t.Errorf("%d malformed packets counted, want 1", got)
	}
}

func TestDial(t *testing.T) {
	sw := newSwitch(t, nil)
	g := attach(t, sw, 16, 8)
	ch := dial(t, sw, CIDParent, 16, 5000)
	req := g.await(OpRequest)
	want := packet{Header: Header{
		SrcCID: 3, SrcPort: firstEphemeral, DstCID: 16, DstPort: 5000,
		Type: TypeStream, Op: OpRequest, BufAlloc: defaultWindow,
	}}
	if diff := cmp.Diff([]packet{want}, req); diff != "" {
		t.Fatalf("request (-want +got):\n%s", diff)
	}
	p := g.conn(5000, CIDParent, firstEphemeral)
	g.send(p.out(OpResponse))
	p.write([]byte("hello"))
	d := <-ch
	must(t, d.err)
	if got, want := d.c.LocalAddr(), (Addr{3, firstEphemeral}); got != want {
		t.Errorf("local address %v, want %v", got, want)
	}
	if got, want := d.c.RemoteAddr(), (Addr{16, 5000}); got != want {
		t.Errorf("remote address %v, want %v", got, want)
	}
	wantRead(t, d.c, []byte("hello"))
}

// A guest can accept, answer and close before the dialler looks.
func TestDialOfAShortLivedConnection(t *testing.T) {
	sw := newSwitch(t, nil)
	g := attach(t, sw, 16, 8)
	ch := dial(t, sw, CIDParent, 16, 5000)
	req := g.await(OpRequest)
	p := g.conn(5000, CIDParent, req[0].SrcPort)
	bye := p.out(OpShutdown)
	bye.Flags = shutdownBoth
	for _, pk := range [][][]byte{
		{wire(p.out(OpResponse))},
		{wire(func() Header { h := p.out(OpRW); h.Len = 4; return h }()), []byte("data")},
		{wire(bye)},
	} {
		g.tx.Add(pk, nil)
	}
	g.handle(queueTx)
	d := <-ch
	must(t, d.err)
	wantRead(t, d.c, []byte("data"))
	wantEnd(t, d.c, io.EOF)
	g.expect(p.rst())
}

func TestDialRefused(t *testing.T) {
	sw := newSwitch(t, nil)
	g := attach(t, sw, 16, 8)
	ch := dial(t, sw, CIDParent, 16, 5000)
	req := g.await(OpRequest)
	g.send(g.conn(5000, CIDParent, req[0].SrcPort).out(OpRST))
	d := <-ch
	wantErr(t, d.err, unix.ECONNREFUSED)
	if d.c != nil {
		t.Error("a connection came with the error")
	}
	g.expect()
}

func TestDialFails(t *testing.T) {
	sw := newSwitch(t, &Config{MaxConns: 1})
	attach(t, sw, 16, 8)
	full := attach(t, sw, 17, 8)
	_, keep := full.answer(dial(t, sw, CIDParent, 17, 1))
	defer keep.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name     string
		ctx      context.Context
		from, to uint32
		want     error
	}{
		{"no guest", t.Context(), 3, 99, unix.EHOSTUNREACH},
		{"from a guest's CID", t.Context(), 17, 16, unix.EADDRNOTAVAIL},
		{"from loopback", t.Context(), 1, 16, unix.EADDRNOTAVAIL},
		{"host to enclave", t.Context(), 2, 16, unix.EACCES},
		{"from the wildcard", t.Context(), CIDAny, 16, unix.EADDRNOTAVAIL},
		{"enclave to enclave", t.Context(), 18, 16, unix.EACCES},
		{"hypervisor to enclave", t.Context(), 0, 16, unix.EACCES},
		{"at the limit", t.Context(), 3, 17, unix.ENOBUFS},
		{"context that ended", ended, 3, 16, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := sw.Dial(tt.ctx, tt.from, tt.to, 1)
			wantErr(t, err, tt.want)
			if c != nil {
				t.Error("a connection came with the error")
			}
		})
	}
}

// A guest that does not answer is not waited for longer than the caller wants,
// and is told.
func TestDialGivesUp(t *testing.T) {
	sw := newSwitch(t, nil)
	g := attach(t, sw, 16, 8)
	ctx, cancel := context.WithCancel(t.Context())
	ch := make(chan error)
	go func() {
		_, err := sw.Dial(ctx, CIDParent, 16, 5000)
		ch <- err
	}()
	req := g.await(OpRequest)
	cancel()
	wantErr(t, <-ch, context.Canceled)
	p := g.conn(5000, CIDParent, req[0].SrcPort)
	g.expect(p.rst())
	// Too late.
	g.send(p.out(OpResponse))
	g.expect(p.rst())
}

// While a guest boots, a Dial waits for its driver.
func TestDialWaitsForTheDriver(t *testing.T) {
	sw := newSwitch(t, nil)
	dev, err := sw.Attach(16)
	must(t, err)
	ch := dial(t, sw, CIDParent, 16, 5000)
	g := &guest{t: t, dev: dev, cid: 16, arena: 1 << 20}
	g.boot(8)
	_, c := g.answer(ch)
	must(t, c.Close())
}

// A guest that talks before it has accepted breaks the protocol.
func TestDialAnsweredWithNonsense(t *testing.T) {
	for _, op := range []Op{OpRW, OpShutdown, OpCreditUpdate, OpCreditRequest} {
		t.Run(op.String(), func(t *testing.T) {
			sw := newSwitch(t, nil)
			g := attach(t, sw, 16, 8)
			ch := dial(t, sw, CIDParent, 16, 5000)
			req := g.await(OpRequest)
			p := g.conn(5000, CIDParent, req[0].SrcPort)
			g.send(p.out(op))
			wantErr(t, (<-ch).err, unix.EPROTO)
			g.expect(p.rst())
		})
	}
}

func TestMembership(t *testing.T) {
	sw := newSwitch(t, nil)
	attach(t, sw, 16, 0)
	l := listen(t, sw, CIDParent, 9000)
	listen(t, sw, 20, 1)
	for _, tt := range []struct {
		cid  uint32
		want error
	}{
		{0, unix.EINVAL}, {1, unix.EINVAL}, {2, unix.EINVAL}, {CIDAny, unix.EINVAL},
		{16, unix.EADDRINUSE}, {3, unix.EADDRINUSE}, {20, unix.EADDRINUSE}, {17, nil},
	} {
		if _, err := sw.Attach(tt.cid); !errorIs(err, tt.want) {
			t.Errorf("attach %d: %v, want %v", tt.cid, err, tt.want)
		}
	}
	for _, tt := range []struct {
		cid, port uint32
		want      error
	}{
		{1, 5, unix.EINVAL}, {CIDAny, 5, unix.EINVAL}, {2, 5, nil}, {2, 5, unix.EADDRINUSE},
		{16, 5, unix.EADDRINUSE}, {3, 9000, unix.EADDRINUSE}, {3, 9001, nil}, {0, 10016, nil},
	} {
		if _, err := sw.Listen(tt.cid, tt.port); !errorIs(err, tt.want) {
			t.Errorf("listen %d:%d: %v, want %v", tt.cid, tt.port, err, tt.want)
		}
	}
	// An address is free after Close, and only the owner frees it.
	must(t, l.Close())
	l2 := listen(t, sw, CIDParent, 9000)
	must(t, l.Close())
	if _, err := sw.Listen(CIDParent, 9000); !errorIs(err, unix.EADDRINUSE) {
		t.Errorf("closing an old listener freed a new one's address: %v", err)
	}
	must(t, l2.Close())

	a, b := listen(t, sw, CIDParent, PortAny), listen(t, sw, CIDParent, PortAny)
	if a.Addr() == b.Addr() || a.Addr().(Addr).Port == PortAny {
		t.Errorf("chosen addresses %v and %v", a.Addr(), b.Addr())
	}

	must(t, sw.Close())
	if _, err := sw.Attach(18); !errorIs(err, net.ErrClosed) {
		t.Errorf("attach after close: %v", err)
	}
	_, err := sw.Listen(CIDParent, 1)
	wantErr(t, err, net.ErrClosed)
	_, err = sw.Dial(t.Context(), CIDParent, 16, 1)
	wantErr(t, err, net.ErrClosed)
}

func TestConfigSpace(t *testing.T) {
	sw := newSwitch(t, nil)
	d, err := sw.Attach(0x01020304)
	must(t, err)
	want := []byte{4, 3, 2, 1, 0, 0, 0, 0}
	if diff := cmp.Diff(want, d.Config()); diff != "" {
		t.Errorf("configuration space (-want +got):\n%s", diff)
	}
	if d.DeviceID() != 19 || d.NumQueues() != 2 || d.Features() != 0 || d.CID() != 0x01020304 {
		t.Errorf("device id %d, %d queues, features %#x, CID %#x", d.DeviceID(), d.NumQueues(), d.Features(), d.CID())
	}
}

// With the protection off, the same attempts succeed: what refuses them is the
// policy and nothing else.
func TestEnclaveIsolationCounterProof(t *testing.T) {
	for _, tt := range []struct {
		name  string
		set   weaken.Set
		works bool
	}{
		{"protected", weaken.Set{}, false},
		{"weakened", weaken.Only(weaken.EnclaveIsolation), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sw := newSwitch(t, &Config{Weaken: tt.set})
			a, b := attach(t, sw, 16, 8), attach(t, sw, 17, 8)
			console := listen(t, sw, CIDHypervisor, ConsolePort(17))

			p := a.conn(1, 17, 5000)
			a.send(p.out(OpRequest))
			q := a.conn(2, CIDHypervisor, ConsolePort(17))
			a.send(q.out(OpRequest))
			if !tt.works {
				a.expect(p.rst(), q.rst())
				b.expect()
				return
			}
			got := b.await(OpRequest)
			if h := got[0]; h.SrcCID != 16 || h.SrcPort != 1 || h.DstPort != 5000 {
				t.Errorf("the other enclave got %+v", h)
			}
			a.expect(q.in(OpResponse, 0))
			must(t, accept(t, console).Close())
		})
	}
}
