package vsock

import (
	"fmt"
	"io"
	"runtime"
	"testing"
)

// A fastPacket is one chain that is sent again and again with another header.
type fastPacket struct {
	g    *fastGuest
	head uint16
}

func (g *fastGuest) packet(size int) fastPacket {
	return fastPacket{g, g.tx.Prepare([][]byte{wire(g.hdr), make([]byte, size)}, nil)}
}

func (p fastPacket) send(h *Header) {
	h.Encode((*[HeaderSize]byte)(p.g.tx.buffer(p.head)))
	p.g.tx.Expose(p.head)
	if err := p.g.dev.HandleQueue(queueTx); err != nil || p.g.tx.used() != 1 {
		p.g.b.Fatal("packet not taken", err)
	}
}

// wait is until the guest got a packet. It gives the buffer back.
func (g *fastGuest) wait() {
	for g.rx.recycle() == 0 {
		if err := g.dev.HandleQueue(queueRx); err != nil {
			g.b.Fatal(err)
		}
	}
}

// pair are two guests with n connections from the first one, an enclave, to the
// other, its parent. The port of the enclave is the number of the connection.
func pair(b *testing.B, n int) (enclave, parent *fastGuest) {
	sw := quiet(b, Config{})
	enclave, parent = newFastGuest(b, sw, 16, nil), newFastGuest(b, sw, CIDParent, nil)
	parent.hdr.SrcPort, parent.hdr.DstCID = 9000, 16
	for i := range n {
		enclave.hdr.SrcPort = uint32(i)
		enclave.control(OpRequest, 0, 0)
		parent.wait()
		parent.hdr.DstPort = uint32(i)
		parent.control(OpResponse, 0, 0)
		enclave.wait()
	}
	return enclave, parent
}

// BenchmarkRoundTrip is one byte there and back: what the switch adds to the
// latency of the guests.
func BenchmarkRoundTrip(b *testing.B) {
	b.Run("guest-Go", func(b *testing.B) {
		sw := quiet(b, Config{})
		g := newFastGuest(b, sw, 16, listen(b, sw, CIDParent, 9000))
		p := g.packet(1)
		h := g.hdr
		h.Op, h.Len = OpRW, 1
		buf := make([]byte, 1)
		b.ReportAllocs()
		for b.Loop() {
			p.send(&h)
			if _, err := io.ReadFull(g.conn, buf); err != nil {
				b.Fatal(err)
			}
			if _, err := g.conn.Write(buf); err != nil {
				b.Fatal(err)
			}
			g.wait()
			h.FwdCnt++
		}
	})
	b.Run("guest-Go-in-a-goroutine", func(b *testing.B) {
		sw := quiet(b, Config{})
		g := newFastGuest(b, sw, 16, listen(b, sw, CIDParent, 9000))
		done := make(chan struct{})
		go func() {
			defer close(done)
			buf := make([]byte, 1)
			for {
				if _, err := io.ReadFull(g.conn, buf); err != nil {
					return
				}
				if _, err := g.conn.Write(buf); err != nil {
					return
				}
			}
		}()
		p := g.packet(1)
		h := g.hdr
		h.Op, h.Len = OpRW, 1
		b.ReportAllocs()
		for b.Loop() {
			p.send(&h)
			for g.rx.recycle() == 0 {
				runtime.Gosched()
			}
			h.FwdCnt++
		}
		_ = g.conn.Close()
		<-done
	})
	b.Run("guest-guest", func(b *testing.B) {
		enclave, parent := pair(b, 1)
		there, back := enclave.packet(1), parent.packet(1)
		h, r := enclave.hdr, parent.hdr
		h.Op, h.Len, r.Op, r.Len = OpRW, 1, OpRW, 1
		b.ReportAllocs()
		for b.Loop() {
			there.send(&h)
			parent.wait()
			r.FwdCnt++
			back.send(&r)
			enclave.wait()
			h.FwdCnt++
		}
	})
}

// BenchmarkThousandConnections takes a packet of each of a thousand open
// connections in turn.
func BenchmarkThousandConnections(b *testing.B) {
	const n = 1000
	for _, size := range []int{64, 3 << 10} {
		b.Run(fmt.Sprintf("guest-Go/%d", size), func(b *testing.B) {
			sw := quiet(b, Config{Backlog: n})
			l := listen(b, sw, CIDParent, 9000)
			g := newFastGuest(b, sw, 16, nil)
			conns := make([]*Conn, n)
			for i := range conns {
				g.hdr.SrcPort = uint32(i)
				g.control(OpRequest, 0, 0)
				g.rx.recycle()
				conns[i] = accept(b, l)
			}
			p := g.packet(size)
			h := g.hdr
			h.Op, h.Len = OpRW, uint32(size)
			buf := make([]byte, size)
			for i := range conns { // as buffers grow
				h.SrcPort = uint32(i)
				p.send(&h)
				_, _ = io.ReadFull(conns[i], buf)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				h.SrcPort = uint32(i)
				p.send(&h)
				if _, err := io.ReadFull(conns[i], buf); err != nil {
					b.Fatal(err)
				}
				g.rx.recycle()
				i = (i + 1) % n
			}
		})
		b.Run(fmt.Sprintf("guest-guest/%d", size), func(b *testing.B) {
			enclave, parent := pair(b, n)
			p := enclave.packet(size)
			h := enclave.hdr
			h.Op, h.Len = OpRW, uint32(size)
			fwd := make([]uint32, n)
			turn := func(i int) {
				h.SrcPort = uint32(i)
				p.send(&h)
				parent.wait()
				fwd[i] += uint32(size)
				parent.hdr.DstPort = uint32(i)
				parent.control(OpCreditUpdate, 0, fwd[i])
				enclave.rx.recycle()
			}
			for i := range n { // as buffers grow
				turn(i)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				turn(i)
				i = (i + 1) % n
			}
		})
	}
}

// BenchmarkWithFaultElsewhere is the price of a fault that concerns somebody
// else, for comparison with BenchmarkGuestToGo.
func BenchmarkWithFaultElsewhere(b *testing.B) {
	sw := quiet(b, Config{})
	i, err := sw.Inject(Fault{Kind: FaultDrop, From: 17, To: CIDAny})
	must(b, err)
	defer i.Remove()
	g := newFastGuest(b, sw, 16, listen(b, sw, CIDParent, 9000))
	p := g.packet(64)
	h := g.hdr
	h.Op, h.Len = OpRW, 64
	buf := make([]byte, 64)
	b.SetBytes(64)
	b.ReportAllocs()
	for b.Loop() {
		p.send(&h)
		if _, err := io.ReadFull(g.conn, buf); err != nil {
			b.Fatal(err)
		}
		g.rx.recycle()
	}
}
