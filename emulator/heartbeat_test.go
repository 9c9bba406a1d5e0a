package emulator

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
)

// A syncBuffer is a log to look at while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newTestHeart has a switch, two guests on it, CIDs 16 and 17, and a log.
func newTestHeart(t *testing.T, scale float64) (h *heart, a, b *guest, log *syncBuffer) {
	t.Helper()
	log = &syncBuffer{}
	sw := vsock.NewSwitch(nil)
	h, err := newHeart(sw, scale, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		sw.Close()
		if err := ignoreClosed(h.close()); err != nil {
			t.Error(err)
		}
	})
	var guests []*guest
	for _, cid := range []uint32{16, 17} {
		dev, err := sw.Attach(cid)
		if err != nil {
			t.Fatal(err)
		}
		guests = append(guests, newGuest(t, dev))
	}
	return h, guests[0], guests[1], log
}

// Stock images call their parent 3; some call it 2, as on a host with KVM.
func TestHeartbeat(t *testing.T) {
	h, a, b, log := newTestHeart(t, 1)
	beatA, beatB := h.expect(16), h.expect(17)
	a.beat(vsock.CIDParent, 1000)
	closed(t, beatA, "the heartbeat of 16")
	if isClosed(beatB) {
		t.Error("17 beats although only 16 did")
	}
	b.beat(vsock.CIDHost, 1000)
	closed(t, beatB, "the heartbeat of 17")

	// Once more is answered, and means nothing.
	a.beat(vsock.CIDParent, 1001)
	a.await(1001, vsock.OpShutdown, vsock.OpRST)
	if !strings.Contains(log.String(), "nobody waits for it") {
		t.Errorf("a second heartbeat is not in the log:\n%s", log)
	}
}

func TestHeartbeatRefused(t *testing.T) {
	tests := []struct {
		name  string
		scale float64
		play  func(g *guest)
		log   string
	}{
		{"another byte", 1, func(g *guest) {
			g.connect(vsock.CIDParent, 1000)
			g.send(g.to(vsock.CIDParent, 1000, vsock.OpRW), 0xb8)
			g.await(1000, vsock.OpShutdown, vsock.OpRST)
		}, "byte is 0xb8; allowed is 0xb7"},
		{"the end instead of a byte", 1, func(g *guest) {
			g.connect(vsock.CIDParent, 1000)
			h := g.to(vsock.CIDParent, 1000, vsock.OpShutdown)
			h.Flags = vsock.ShutdownSend
			g.send(h)
			g.await(1000, vsock.OpShutdown, vsock.OpRST)
		}, "read: EOF"},
		{"silence", 0.005, func(g *guest) { // 50 ms
			g.connect(vsock.CIDParent, 1000)
			g.await(1000, vsock.OpShutdown, vsock.OpRST)
		}, "i/o timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, a, b, log := newTestHeart(t, tt.scale)
			beatA, beatB := h.expect(16), h.expect(17)
			tt.play(a)
			b.beat(vsock.CIDParent, 1000) // which a cannot hinder
			closed(t, beatB, "the heartbeat of 17")
			if isClosed(beatA) {
				t.Error("16 beats")
			}
			if !strings.Contains(log.String(), tt.log) || !strings.Contains(log.String(), "from=16:1000") {
				t.Errorf("log has no %q of 16:1000:\n%s", tt.log, log)
			}
		})
	}
}

// A guest that holds connections open is alone with that.
func TestHeartbeatFlood(t *testing.T) {
	h, a, b, _ := newTestHeart(t, 100) // nothing times out on a busy machine
	beatA, beatB := h.expect(16), h.expect(17)
	for i := range uint32(3 * maxHeartbeats) {
		port := 2000 + i
		// All are accepted by the switch; the heart closes those beyond its limit.
		if !a.connect(vsock.CIDParent, port) {
			t.Fatalf("connection %d was refused by the switch", i)
		}
		if i >= maxHeartbeats {
			a.await(port, vsock.OpShutdown, vsock.OpRST)
		}
	}
	b.beat(vsock.CIDParent, 1000)
	closed(t, beatB, "the heartbeat of 17")

	// As soon as one is free again it can be heard.
	a.send(a.to(vsock.CIDParent, 2000, vsock.OpRW), ports.HeartbeatByte)
	closed(t, beatA, "the heartbeat of 16")
}

// The log does not grow with what a guest does.
func TestHeartbeatLogIsBounded(t *testing.T) {
	h, a, _, log := newTestHeart(t, 1)
	h.expect(16)
	for i := range uint32(5 * maxWarnings) {
		a.connect(vsock.CIDParent, 3000+i)
		a.send(a.to(vsock.CIDParent, 3000+i, vsock.OpRW), 1)
		a.await(3000+i, vsock.OpShutdown, vsock.OpRST)
	}
	if n := strings.Count(log.String(), "heartbeat refused"); n == 0 || n > maxWarnings {
		t.Errorf("%d lines for %d bad heartbeats, want 1 to %d", n, 5*maxWarnings, maxWarnings)
	}
}

// A guest cannot speak for another one, and who is not expected is not noticed.
func TestHeartbeatSpoof(t *testing.T) {
	h, a, b, _ := newTestHeart(t, 1)
	beatB := h.expect(17)
	forged := a.to(vsock.CIDParent, 1000, vsock.OpRequest)
	forged.SrcCID = 17
	a.send(forged)
	forged.Op = vsock.OpRW
	a.send(forged, ports.HeartbeatByte)
	a.beat(vsock.CIDParent, 1001) // unknown: answered, and no more
	if isClosed(beatB) {
		t.Error("16 beats for 17")
	}
	h.forget(17)
	b.beat(vsock.CIDParent, 1000)
	if isClosed(beatB) {
		t.Error("a heartbeat was heard that nobody waits for any more")
	}
}
