package vsock

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/devices/virtio"
	"github.com/nitrolab/nitrolab/devices/virtio/virtiotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for another goroutine. It is never used up unless
// the test fails.
const patience = 20 * time.Second

// Defaults of a scripted guest.
const (
	guestAlloc = 256 << 10 // buf_alloc of Linux
	rxBuffer   = 3776      // what a receive buffer of Linux 6.12 holds
	ringSize   = 128       // what QEMU offers
)

// A packet is what the guest found in a receive buffer.
type packet struct {
	Header
	Data []byte
}

// A guest plays the driver, packet by packet.
type guest struct {
	t      testing.TB
	dev    *Device
	rx, tx *virtiotest.Driver
	cid    uint32
	arena  int      // bytes of memory for each queue
	early  []packet // received and not yet looked at
}

// attach makes a guest with n receive buffers posted.
func attach(t testing.TB, sw *Switch, cid uint32, n int) *guest {
	t.Helper()
	dev, err := sw.Attach(cid)
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t, dev: dev, cid: cid, arena: 1 << 20}
	g.boot(n)
	return g
}

// boot starts the driver afresh.
func (g *guest) boot(n int) {
	g.t.Helper()
	g.rx = newDriver(g.t, g.arena)
	g.tx = newDriver(g.t, g.arena)
	g.dev.StartQueue(queueRx, g.rx.Queue())
	g.dev.StartQueue(queueTx, g.tx.Queue())
	g.post(n, rxBuffer)
	g.handle(queueTx)
}

// newDriver returns a driver with less memory than it has by default, which
// makes thousands of them cheap.
func newDriver(t testing.TB, arena int) *virtiotest.Driver {
	return virtiotest.New(t, ringSize, virtiotest.Over(make([]byte, arena), virtiotest.Base))
}

// stop is what a transport does when the driver resets the device.
func (g *guest) stop() {
	g.dev.StopQueue(queueRx)
	g.dev.StopQueue(queueTx)
}

func (g *guest) handle(queue int) {
	g.t.Helper()
	if err := g.dev.HandleQueue(queue); err != nil {
		g.t.Fatalf("queue %d: %v", queue, err)
	}
}

// post makes n receive buffers available.
func (g *guest) post(n, size int) {
	g.t.Helper()
	for range n {
		g.rx.Add(nil, []int{size})
	}
	g.handle(queueRx)
}

// sendRaw sends one chain of the given segments.
func (g *guest) sendRaw(segments ...[]byte) {
	g.t.Helper()
	g.tx.Add(segments, nil)
	g.handle(queueTx)
	if used := g.tx.Used(); len(used) != 1 || used[0].Len != 0 {
		g.t.Fatalf("transmit queue returned %v, want one chain with nothing written", used)
	}
}

// send sends a packet; h.Len is set from the data.
func (g *guest) send(h Header, data ...[]byte) {
	g.t.Helper()
	h.Len = 0
	for _, d := range data {
		h.Len += uint32(len(d))
	}
	g.sendRaw(append([][]byte{wire(h)}, data...)...)
}

func wire(h Header) []byte {
	var b [HeaderSize]byte
	h.Encode(&b)
	return b[:]
}

// recv returns the packets that arrived and posts as many buffers again.
func (g *guest) recv() []packet {
	g.t.Helper()
	fresh := g.take()
	g.post(len(fresh), rxBuffer)
	all := append(g.early, fresh...)
	g.early = nil
	return all
}

// take is recv without posting buffers.
func (g *guest) take() []packet {
	g.t.Helper()
	var all []packet
	for _, u := range g.rx.Used() {
		all = append(all, decode(g.t, bytes.Join(u.In, nil)))
	}
	return all
}

func decode(t testing.TB, b []byte) packet {
	t.Helper()
	if len(b) < HeaderSize {
		t.Fatalf("packet of %d bytes", len(b))
	}
	var p packet
	p.Decode((*[HeaderSize]byte)(b))
	if int(p.Len) != len(b)-HeaderSize {
		t.Fatalf("%v packet of %d bytes says it has %d", p.Op, len(b)-HeaderSize, p.Len)
	}
	if p.Len > 0 {
		p.Data = b[HeaderSize:]
	}
	return p
}

// await receives until a packet with the wanted operation arrived and returns
// everything up to it.
func (g *guest) await(op Op) []packet {
	g.t.Helper()
	return g.until(func(p packet) bool { return p.Op == op })
}

// until receives until a packet satisfies last.
func (g *guest) until(last func(packet) bool) []packet {
	g.t.Helper()
	var all []packet
	deadline := time.After(patience)
	for {
		got := g.recv()
		for i, p := range got {
			all = append(all, p)
			if last(p) {
				g.early = got[i+1:]
				return all
			}
		}
		select {
		case <-g.rx.Interrupted():
		case <-deadline:
			g.t.Fatalf("guest waited in vain; it got %v", all)
		}
	}
}

// expect fails unless exactly these packets arrived.
func (g *guest) expect(want ...packet) {
	g.t.Helper()
	if diff := cmp.Diff(want, g.recv(), cmpopts.EquateEmpty()); diff != "" {
		g.t.Fatalf("guest received (-want +got):\n%s", diff)
	}
}

// A peer is one connection of the guest: the header of what it sends, and the
// credit it keeps.
type peer struct {
	*guest
	h Header
}

// conn names a connection of the guest to an address.
func (g *guest) conn(guestPort, dstCID, dstPort uint32) *peer {
	return &peer{g, Header{
		SrcCID: uint64(g.cid), SrcPort: guestPort,
		DstCID: uint64(dstCID), DstPort: dstPort,
		Type: TypeStream, BufAlloc: guestAlloc,
	}}
}

// out is a packet of the connection.
func (p *peer) out(op Op) Header {
	h := p.h
	h.Op = op
	return h
}

// in is the packet that the device sends on the connection, with its credit.
func (p *peer) in(op Op, fwd uint32) packet {
	return packet{Header: Header{
		SrcCID: p.h.DstCID, SrcPort: p.h.DstPort,
		DstCID: p.h.SrcCID, DstPort: p.h.SrcPort,
		Type: p.h.Type, Op: op, BufAlloc: uint32(p.dev.sw.cfg.Window), FwdCnt: fwd,
	}}
}

// rst is the device's reset, which has no credit in it.
func (p *peer) rst() packet {
	r := p.in(OpRST, 0)
	r.BufAlloc = 0
	return r
}

func (p *peer) write(data ...[]byte) { p.t.Helper(); p.send(p.out(OpRW), data...) }

// connect makes the guest connect to a listener and returns both ends.
func (g *guest) connect(l *Listener, guestPort uint32) (*peer, *Conn) {
	g.t.Helper()
	p := g.conn(guestPort, l.addr.CID, l.addr.Port)
	g.send(p.out(OpRequest))
	g.expect(p.in(OpResponse, 0))
	return p, accept(g.t, l)
}

func accept(t testing.TB, l *Listener) *Conn {
	t.Helper()
	if err := l.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	must(t, c.SetDeadline(time.Now().Add(patience)))
	return c.(*Conn)
}

// dialled is what a Dial in another goroutine came to.
type dialled struct {
	c   *Conn
	err error
}

func dial(t testing.TB, sw *Switch, from, to, port uint32) <-chan dialled {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	ch := make(chan dialled, 1)
	go func() {
		defer cancel()
		c, err := sw.Dial(ctx, from, to, port)
		ch <- dialled{c, err}
	}()
	return ch
}

// answer makes the guest accept a connection from Go and returns both ends.
func (g *guest) answer(ch <-chan dialled) (*peer, *Conn) {
	g.t.Helper()
	req := g.await(OpRequest)
	h := req[len(req)-1].Header
	p := g.conn(h.DstPort, uint32(h.SrcCID), h.SrcPort)
	g.send(p.out(OpResponse))
	d := <-ch
	if d.err != nil {
		g.t.Fatal(d.err)
	}
	must(g.t, d.c.SetDeadline(time.Now().Add(patience)))
	return p, d.c
}

func newSwitch(t testing.TB, cfg *Config) *Switch {
	t.Helper()
	if cfg == nil {
		cfg = &Config{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	sw := NewSwitch(cfg)
	t.Cleanup(func() { must(t, sw.Close()) })
	return sw
}

func listen(t testing.TB, sw *Switch, cid, port uint32) *Listener {
	t.Helper()
	l, err := sw.Listen(cid, port)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantErr fails unless err is want inside a *net.OpError.
func wantErr(t testing.TB, err, want error) {
	t.Helper()
	var op *net.OpError
	if !errors.Is(err, want) || !errors.As(err, &op) || op.Net != "vsock" {
		t.Fatalf("error %v (%T), want a *net.OpError with %v", err, err, want)
	}
}

// wantRead fails unless the next bytes are data.
func wantRead(t testing.TB, c net.Conn, data []byte) {
	t.Helper()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("read %d bytes: %v", len(data), err)
	}
	if !bytes.Equal(got, data) {
		t.Fatalf("read %d bytes that differ from those sent", len(data))
	}
}

// wantEnd fails unless the next read gives exactly end.
func wantEnd(t testing.TB, c net.Conn, end error) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, end) {
		t.Fatalf("read gave %d bytes, %v; want 0, %v", n, err, end)
	}
}

// pattern is n bytes in which no two places look alike.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(n) | 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

var _ virtio.Device = (*Device)(nil)
