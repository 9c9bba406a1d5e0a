package vhostuser_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/vhostuser"
	"github.com/nitrolab/nitrolab/devices/virtio"
)

// TestQEMUSequence is the conversation observed with QEMU 11.1, from realize
// over driver start, stop and second start to the end of the process.
func TestQEMUSequence(t *testing.T) {
	for _, features := range []uint64{featLegacy, featLegacy | virtio.FeatureEventIdx, featAll} {
		t.Run(fmt.Sprintf("features %#x", features), func(t *testing.T) {
			dev := newEcho(t, 2)
			dev.config = []byte{16, 0, 0, 0, 0, 0, 0, 0}
			f := connect(t, dev, nil)

			if got, want := binary.LittleEndian.Uint64(f.ask(getFeatures, nil)), uint64(featAll|1<<5); got != want {
				t.Errorf("features %#x, want %#x", got, want)
			}
			if got, want := binary.LittleEndian.Uint64(f.ask(getProtocolFeatures, nil)), uint64(protoMQ|protoAck|protoConfig); got != want {
				t.Errorf("protocol features %#x, want %#x", got, want)
			}
			f.negotiate(2)
			if got := binary.LittleEndian.Uint64(f.ask(getQueueNum, nil)); got != 2 {
				t.Errorf("%d queues, want 2", got)
			}
			head := append(state(0, 8), 0, 0, 0, 0) // offset 0, size 8, flags 0
			if diff := cmp.Diff(append(head, dev.config...), f.ask(getConfig, append(head, make([]byte, 8)...))); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}

			var qs []*guestQueue
			for i := range uint32(2) {
				qs = append(qs, f.newQueue(i, 64, features))
			}
			base := uint16(0)
			for round := range 3 {
				// Driver start.
				if got := f.acked(setFeatures, u64(features)); got != 0 {
					t.Fatalf("SET_FEATURES: %d", got)
				}
				if got := f.acked(setMemTable, wholeRAM(), f.mem); got != 0 {
					t.Fatalf("SET_MEM_TABLE: %d", got)
				}
				for _, q := range qs {
					q.setUp(base)
				}
				if got := dev.calls(); got != nil {
					t.Errorf("round %d: device called before SET_VRING_ENABLE: %q", round, got)
				}
				for _, q := range qs {
					if got := f.acked(setVringEnable, state(q.index, 1)); got != 0 {
						t.Fatalf("SET_VRING_ENABLE: %d", got)
					}
					q.call = newEvent(t)
					f.send(setVringCall, u64(uint64(q.index)), q.call.fd)
				}
				for n := range 100 {
					for _, q := range qs {
						msg := fmt.Sprintf("round %d message %d", round, n)
						want := fmt.Sprintf("ROUND %d MESSAGE %d", round, n)
						if got := q.exchange(msg); got != want {
							t.Fatalf("answer %q, want %q", got, want)
						}
					}
				}
				// Driver stop.
				base += 100
				for _, q := range qs {
					f.send(setVringCall, u64(uint64(q.index)), q.call.fd)
					q.enable(0)
					if diff := cmp.Diff(state(q.index, uint32(base)), f.ask(getVringBase, state(q.index, 0))); diff != "" {
						t.Errorf("round %d: base (-want +got):\n%s", round, diff)
					}
				}
				calls := dev.calls()
				if len(calls) != 4 || calls[2] != fmt.Sprintf("stop 0 at %d", base) || calls[3] != fmt.Sprintf("stop 1 at %d", base) {
					t.Errorf("round %d: device saw %q", round, calls)
				}
			}
			_ = f.conn.Close()
			if err := f.result(); err != nil {
				t.Errorf("Serve = %v, want nil after the peer closed", err)
			}
		})
	}
}

// TestPeerDies ends the connection while rings run.
func TestPeerDies(t *testing.T) {
	dev := newEcho(t, 2)
	f := connect(t, dev, nil)
	qs := f.running(2, 8, featAll)
	if got := qs[1].exchange("hello"); got != "HELLO" {
		t.Errorf("answer %q", got)
	}
	f.write(raw(getFeatures, 1, nil)) // an answer nobody will read
	_ = f.conn.Close()
	if err := f.result(); err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	for i := range dev.ring {
		if dev.running(i) {
			t.Errorf("queue %d was not stopped", i)
		}
	}
}

func TestContextEnds(t *testing.T) {
	for _, when := range []string{"before the first message", "in a message", "while rings run"} {
		t.Run(when, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			dev := newEcho(t, 1)
			f := connectContext(ctx, t, dev, nil)
			switch when {
			case "in a message":
				f.sync()
				f.write([]byte{1, 0, 0})
			case "while rings run":
				if got := f.running(1, 8, featAll)[0].exchange("x"); got != "X" {
					t.Errorf("answer %q", got)
				}
			}
			cancel()
			if err := f.result(); !errors.Is(err, context.Canceled) {
				t.Errorf("Serve = %v, want context.Canceled", err)
			}
			if dev.running(0) {
				t.Error("queue was not stopped")
			}
		})
	}
}

// TestContextAlreadyOver: nothing is served.
func TestContextAlreadyOver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ours, theirs := socketpair(t)
	defer func() { _ = ours.Close() }()
	if err := vhostuser.Serve(ctx, theirs, newEcho(t, 1), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Serve = %v, want context.Canceled", err)
	}
}
