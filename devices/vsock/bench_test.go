package vsock

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/guestmem"
	"github.com/nitrolab/nitrolab/devices/virtio"
	"github.com/nitrolab/nitrolab/devices/virtio/virtiotest"
)

// A fastQueue is a driver that makes the same chains available over and over
// and allocates nothing, so that what is measured is the device.
type fastQueue struct {
	*virtiotest.Driver
	mem   []byte
	rings virtiotest.Rings
	heads []uint16
	next  int // chain to expose next; chains come back in order
	seen  uint16
}

func newFastQueue(b *testing.B) *fastQueue {
	q := &fastQueue{mem: make([]byte, 32<<20)}
	q.Driver = virtiotest.New(b, ringSize, virtiotest.Over(q.mem, virtiotest.Base), virtiotest.Features(virtio.FeatureEventIdx))
	q.rings = q.Rings()
	return q
}

// prepare makes n chains of the same kind.
func (q *fastQueue) prepare(n int, out [][]byte, in []int) {
	for range n {
		q.heads = append(q.heads, q.Prepare(out, in))
	}
}

// expose makes the next n chains available.
func (q *fastQueue) expose(n int) {
	for range n {
		q.Expose(q.heads[q.next])
		q.next = (q.next + 1) % len(q.heads)
	}
}

// used is the number of chains that came back since the last call.
func (q *fastQueue) used() int {
	idx := uint16(guestmem.LoadAcquire(q.rings.Used, 0) >> 16)
	n := idx - q.seen
	q.seen = idx
	return int(n)
}

// recycle makes the chains that came back available again.
func (q *fastQueue) recycle() int {
	n := q.used()
	q.expose(n)
	return n
}

// buffer is the memory of the first descriptor of a chain.
func (q *fastQueue) buffer(head uint16) []byte {
	addr := binary.LittleEndian.Uint64(q.rings.Desc[16*int(head):])
	return q.mem[addr-virtiotest.Base:]
}

// A fastGuest has a connection to a listener, and one more chain to send:
// credit updates.
type fastGuest struct {
	b      *testing.B
	dev    *Device
	rx, tx *fastQueue
	conn   *Conn
	hdr    Header
	ctl    uint16
}

func newFastGuest(b *testing.B, sw *Switch, cid uint32, l *Listener) *fastGuest {
	dev, err := sw.Attach(cid)
	must(b, err)
	g := &fastGuest{b: b, dev: dev, rx: newFastQueue(b), tx: newFastQueue(b)}
	dev.StartQueue(queueRx, g.rx.Queue())
	dev.StartQueue(queueTx, g.tx.Queue())
	g.rx.prepare(ringSize, nil, []int{rxBuffer})
	g.rx.expose(ringSize)
	g.hdr = Header{SrcCID: uint64(cid), SrcPort: 1, DstCID: 3, DstPort: 9000, Type: TypeStream, Op: OpRequest, BufAlloc: guestAlloc}
	g.ctl = g.tx.Prepare([][]byte{wire(g.hdr)}, nil)
	if l != nil {
		g.control(OpRequest, 0, 0)
		g.conn = accept(b, l)
		must(b, g.conn.SetDeadline(time.Time{}))
	}
	g.rx.recycle()
	return g
}

// control sends a packet without payload.
func (g *fastGuest) control(op Op, flags, fwd uint32) {
	g.hdr.Op, g.hdr.Flags, g.hdr.FwdCnt = op, flags, fwd
	g.hdr.Encode((*[HeaderSize]byte)(g.tx.buffer(g.ctl)))
	g.tx.Expose(g.ctl)
	if err := g.dev.HandleQueue(queueTx); err != nil || g.tx.used() != 1 {
		g.b.Fatal("control packet not taken", err)
	}
}

func quiet(b *testing.B, cfg Config) *Switch {
	cfg.Log = slog.New(slog.DiscardHandler)
	return newSwitch(b, &cfg)
}

// BenchmarkGuestToGo is one connection, packets of the given payload: gather
// from the ring into the buffer, read from it, credit updates included.
func BenchmarkGuestToGo(b *testing.B) {
	for _, size := range []int{64, 4096, 65536} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			sw := quiet(b, Config{})
			g := newFastGuest(b, sw, 16, listen(b, sw, CIDParent, 9000))
			batch := min(60, defaultWindow/size) // two descriptors each
			h := g.hdr
			h.Op, h.Len = OpRW, uint32(size)
			g.tx.prepare(batch, [][]byte{wire(h), make([]byte, size)}, nil)
			buf := make([]byte, batch*size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += batch {
				n := min(batch, b.N-i)
				g.tx.expose(n)
				if err := g.dev.HandleQueue(queueTx); err != nil || g.tx.used() != n {
					b.Fatal("packets not taken", err)
				}
				if _, err := io.ReadFull(g.conn, buf[:n*size]); err != nil {
					b.Fatal(err)
				}
				g.rx.recycle()
			}
		})
	}
}

// BenchmarkGoToGuest is one connection, Write calls of the given size into
// Linux's receive buffers.
func BenchmarkGoToGuest(b *testing.B) {
	for _, size := range []int{64, 4096, 65536} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			sw := quiet(b, Config{})
			g := newFastGuest(b, sw, 16, listen(b, sw, CIDParent, 9000))
			data := make([]byte, size)
			packets := (size + rxBuffer - HeaderSize - 1) / (rxBuffer - HeaderSize)
			var fwd, told uint32
			batch := ringSize / packets
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i++ {
				if _, err := g.conn.Write(data); err != nil {
					b.Fatal(err)
				}
				fwd += uint32(size)
				if i%batch == batch-1 || fwd-told >= guestAlloc/2 {
					told = fwd
					g.rx.recycle()
					g.control(OpCreditUpdate, 0, fwd)
				}
			}
		})
	}
}

// BenchmarkGuestToGuest is one connection between two guests.
func BenchmarkGuestToGuest(b *testing.B) {
	for _, size := range []int{4096, 65536} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			sw := quiet(b, Config{})
			parent := newFastGuest(b, sw, CIDParent, nil)
			g := newFastGuest(b, sw, 16, nil)
			g.control(OpRequest, 0, 0)
			waitFor(b, func() bool { return parent.rx.recycle() == 1 })
			parent.hdr.SrcPort, parent.hdr.DstCID, parent.hdr.DstPort = 9000, 16, 1
			parent.control(OpResponse, 0, 0)
			waitFor(b, func() bool { return g.rx.recycle() == 1 })
			h := g.hdr
			h.Op, h.Len = OpRW, uint32(size)
			g.tx.prepare(1, [][]byte{wire(h), make([]byte, size)}, nil)
			fwd := uint32(0)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				g.tx.expose(1)
				if err := g.dev.HandleQueue(queueTx); err != nil || g.tx.used() != 1 {
					b.Fatal("packet not taken", err)
				}
				if err := parent.dev.HandleQueue(queueRx); err != nil {
					b.Fatal(err)
				}
				parent.rx.recycle()
				fwd += uint32(size)
				parent.control(OpCreditUpdate, 0, fwd)
				if err := g.dev.HandleQueue(queueRx); err != nil {
					b.Fatal(err)
				}
				g.rx.recycle()
			}
		})
	}
}

// BenchmarkConnect is a whole connection: request, response, accept, close,
// shutdown, reset.
func BenchmarkConnect(b *testing.B) {
	sw := quiet(b, Config{})
	l := listen(b, sw, CIDParent, 9000)
	g := newFastGuest(b, sw, 16, nil)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		g.hdr.SrcPort = uint32(i)
		g.control(OpRequest, 0, 0)
		c, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
		g.control(OpRST, 0, 0)
		g.rx.recycle()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "connects/s")
}

// BenchmarkRefuse is a request that nobody listens for.
func BenchmarkRefuse(b *testing.B) {
	sw := quiet(b, Config{})
	g := newFastGuest(b, sw, 16, nil)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		g.control(OpRequest, 0, 0)
		if g.rx.recycle() != 1 {
			b.Fatal("no reset")
		}
	}
}
