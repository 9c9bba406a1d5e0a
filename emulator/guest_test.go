package emulator

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/virtio/virtiotest"
	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
)

// patience bounds every wait for another goroutine. It is never used up unless
// the test fails.
const patience = 20 * time.Second

// A guest plays a guest's vsock driver, packet by packet. It is for one
// goroutine.
type guest struct {
	t      testing.TB
	dev    *vsock.Device
	rx, tx *virtiotest.Driver
	early  []packet // received and not yet looked at
}

// The queues of the device, virtio 1.2 section 5.10.2.
const queueRx, queueTx = 0, 1

func newGuest(t testing.TB, dev *vsock.Device) *guest {
	t.Helper()
	driver := func() *virtiotest.Driver {
		return virtiotest.New(t, 128, virtiotest.Over(make([]byte, 1<<20), virtiotest.Base))
	}
	g := &guest{t: t, dev: dev, rx: driver(), tx: driver()}
	dev.StartQueue(queueRx, g.rx.Queue())
	dev.StartQueue(queueTx, g.tx.Queue())
	for range 32 {
		g.rx.Add(nil, []int{4096})
	}
	g.handle(queueRx)
	return g
}

func (g *guest) handle(queue int) {
	g.t.Helper()
	if err := g.dev.HandleQueue(queue); err != nil {
		g.t.Fatalf("queue %d: %v", queue, err)
	}
}

// send sends one packet.
func (g *guest) send(h vsock.Header, data ...byte) {
	g.t.Helper()
	h.Type, h.Len, h.BufAlloc = vsock.TypeStream, uint32(len(data)), 64<<10
	var b [vsock.HeaderSize]byte
	h.Encode(&b)
	g.tx.Add([][]byte{append(b[:], data...)}, nil)
	g.handle(queueTx)
	g.tx.Used()
}

// to is the header of a packet from port of this guest to port 9000 of its
// parent, which it calls cid.
func (g *guest) to(cid, port uint32, op vsock.Op) vsock.Header {
	return vsock.Header{SrcCID: uint64(g.dev.CID()), SrcPort: port, DstCID: uint64(cid), DstPort: ports.Heartbeat, Op: op}
}

// A packet is what the guest received.
type packet struct {
	vsock.Header
	data []byte
}

// next waits for the next packets.
func (g *guest) next(ctx context.Context) []packet {
	for {
		got := g.early
		g.early = nil
		for _, u := range g.rx.Used() {
			b := bytes.Join(u.In, nil)
			var p packet
			p.Decode((*[vsock.HeaderSize]byte)(b))
			p.data = b[vsock.HeaderSize:]
			got = append(got, p)
			g.rx.Add(nil, []int{4096})
		}
		if len(got) > 0 {
			g.handle(queueRx)
			return got
		}
		select {
		case <-g.rx.Interrupted():
		case <-ctx.Done():
			return nil
		}
	}
}

// await returns the next packet with one of the operations, to a port of the
// guest.
func (g *guest) await(port uint32, ops ...vsock.Op) packet {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil {
		all := g.next(ctx)
		for i, p := range all {
			if p.DstPort == port && slices.Contains(ops, p.Op) {
				g.early = all[i+1:]
				return p
			}
		}
	}
	g.t.Fatalf("no packet %v to port %d came", ops, port)
	return packet{}
}

// connect opens a connection to the heartbeat's port and says whether it was
// accepted.
func (g *guest) connect(cid, port uint32) bool {
	g.t.Helper()
	g.send(g.to(cid, port, vsock.OpRequest))
	return g.await(port, vsock.OpResponse, vsock.OpRST).Op == vsock.OpResponse
}

// beat is init's part of the heartbeat (init.c, enclave_ready).
func (g *guest) beat(cid, port uint32) {
	g.t.Helper()
	if !g.connect(cid, port) {
		g.t.Fatal("the heartbeat's connection was refused")
	}
	g.send(g.to(cid, port, vsock.OpRW), ports.HeartbeatByte)
	if p := g.await(port, vsock.OpRW); !bytes.Equal(p.data, []byte{ports.HeartbeatByte}) {
		g.t.Fatalf("the heartbeat was answered with %x", p.data)
	}
}

// refuse answers what comes as a kernel does on whose ports nobody listens,
// until ctx ends.
func (g *guest) refuse(ctx context.Context) {
	for {
		for _, p := range g.next(ctx) {
			if p.Op == vsock.OpRequest {
				g.send(vsock.Header{SrcCID: p.DstCID, SrcPort: p.DstPort, DstCID: p.SrcCID, DstPort: p.SrcPort, Op: vsock.OpRST})
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// closed fails the test unless c is closed soon.
func closed(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s did not happen", what)
	}
}

// isClosed tells whether c is closed by now.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
