package vfiouser_test

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/vfiouser"
	vt "github.com/nitrolab/nitrolab/devices/vfiouser/vfiousertest"
)

// guestMemory answers DMA_READ and DMA_WRITE as QEMU 11.1.3 does, for 64 KiB at 0;
// everything else is refused by the IOMMU.
type guestMemory [1 << 16]byte

func (g *guestMemory) serve(command uint16, payload []byte) ([]byte, syscall.Errno) {
	addr, n := binary.LittleEndian.Uint64(payload), binary.LittleEndian.Uint64(payload[8:])
	if addr > uint64(len(g)) || n > uint64(len(g))-addr {
		return nil, unix.ENODEV
	}
	reply := append([]byte(nil), payload[:16]...)
	if command == vt.DMARead {
		return append(reply, g[addr:addr+n]...), 0
	}
	copy(g[addr:], payload[16:])
	return reply, 0
}

// asking runs f on a goroutine of its own while the client answers n requests.
func asking(c *vt.Client, n int, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	for range n {
		c.Answer()
	}
	return <-done
}

func TestMessages(t *testing.T) {
	checkLeaks(t)
	var messages vfiouser.Messages
	ctx := t.Context()
	p := make([]byte, 8)
	if err := messages.Read(ctx, 0, p); !errors.Is(err, vfiouser.ErrNotConnected) {
		t.Errorf("Read without a client = %v", err)
	}
	c := vt.Attach(t, newDevice(t, nil).f, &vfiouser.Config{Messages: &messages})
	var g guestMemory
	c.Serves = g.serve
	copy(g[0x1000:], "in guest")
	if err := asking(c, 1, func() error { return messages.Read(ctx, 0x1000, p) }); err != nil || string(p) != "in guest" {
		t.Errorf("Read = %q, %v", p, err)
	}
	if err := asking(c, 1, func() error { return messages.Write(ctx, 0x2000, []byte("from device")) }); err != nil || string(g[0x2000:0x200b]) != "from device" {
		t.Errorf("Write: %q, %v", g[0x2000:0x200b], err)
	}
	// What the IOMMU refuses.
	if err := asking(c, 1, func() error { return messages.Read(ctx, 1<<40, p) }); !errors.Is(err, unix.ENODEV) {
		t.Errorf("Read of nothing = %v, want ENODEV", err)
	}
	// A request that arrives while a reply is due does not disturb it.
	var reader sync.WaitGroup
	reader.Go(func() {
		for range 50 {
			if err := messages.Read(ctx, 0x1000, make([]byte, 8)); err != nil {
				t.Error(err)
			}
		}
	})
	for range 50 {
		c.Sync()
		c.Post(0, 0, []byte{1})
	}
	answered := make(chan struct{})
	go func() { reader.Wait(); close(answered) }()
	for open := true; open; {
		select {
		case <-answered:
			open = false
		default:
			c.Sync() // answers what comes
		}
	}
	for _, n := range []int{0, 1<<20 + 1} {
		if err := messages.Read(ctx, 0, make([]byte, n)); !errors.Is(err, vfiouser.ErrSize) {
			t.Errorf("Read of %d bytes = %v, want ErrSize", n, err)
		}
	}
	// QEMU before 11.1 puts the data four bytes earlier.
	c.Serves = func(uint16, []byte) ([]byte, syscall.Errno) { return append(make([]byte, 12), "12345678"...), 0 }
	if err := asking(c, 1, func() error { return messages.Read(ctx, 0, p) }); err != nil || string(p) != "12345678" {
		t.Errorf("Read of the old layout = %q, %v", p, err)
	}
	c.Serves = func(uint16, []byte) ([]byte, syscall.Errno) { return []byte{1}, 0 }
	if err := asking(c, 1, func() error { return messages.Read(ctx, 0, p) }); !errors.Is(err, vfiouser.ErrSize) {
		t.Errorf("Read with a short answer = %v, want ErrSize", err)
	}
	c.Serves = g.serve

	// A client that does not answer in time, and does later.
	short, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- messages.Read(short, 0x1000, p) }()
	m, err := c.Receive()
	if err != nil {
		t.Fatal(err)
	}
	late := append(vt.Header(m.ID, m.Command, 24, vt.FlagReply), make([]byte, 24)...)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Read = %v, want context.Canceled", err)
	}
	copy(p, "untouched")
	c.Raw(late)
	c.Sync()
	if string(p) != "untouche" {
		t.Errorf("late answer wrote %q", p)
	}
	// A client that goes away.
	go func() { done <- messages.Write(ctx, 0x1000, p) }()
	if _, err := c.Receive(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := <-done; !errors.Is(err, vfiouser.ErrNotConnected) {
		t.Errorf("Write = %v, want ErrNotConnected", err)
	}
	if err := c.Result(); err != nil {
		t.Error(err)
	}
	if err := messages.Write(ctx, 0x1000, p); !errors.Is(err, vfiouser.ErrNotConnected) {
		t.Errorf("Write after all = %v, want ErrNotConnected", err)
	}
}

// TestBlockedSender: one that waits for a client that does not read does not keep
// Serve from ending.
func TestBlockedSender(t *testing.T) {
	checkLeaks(t)
	var messages vfiouser.Messages
	c := vt.Attach(t, newDevice(t, nil).f, &vfiouser.Config{Messages: &messages})
	done := make(chan error, 1)
	go func() { done <- messages.Write(t.Context(), 0, make([]byte, 1<<20)) }() // more than a socket holds
	if m, err := c.ReceiveHeader(); err != nil || m != vt.DMAWrite {
		t.Fatalf("command %d, %v; want DMA_WRITE", m, err)
	}
	c.Raw(make([]byte, 16)) // no message
	var pe *vfiouser.ProtocolError
	if err := c.Result(); !errors.As(err, &pe) {
		t.Errorf("Serve = %v, want a ProtocolError", err)
	}
	if err := <-done; !errors.Is(err, vfiouser.ErrNotConnected) {
		t.Errorf("Write = %v, want ErrNotConnected", err)
	}
}

// TestMessagesAreBounded: a client that answers nothing does not make us remember
// without end.
func TestMessagesAreBounded(t *testing.T) {
	var messages vfiouser.Messages
	c := vt.Attach(t, newDevice(t, nil).f, &vfiouser.Config{Messages: &messages})
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	var mu sync.Mutex
	var busy int
	for range 1100 {
		waiting.Go(func() {
			if err := messages.Read(ctx, 0, make([]byte, 1)); errors.Is(err, unix.EBUSY) {
				mu.Lock()
				busy++
				mu.Unlock()
			}
		})
	}
	for range 1024 {
		if _, err := c.Receive(); err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; n < 76; {
		mu.Lock()
		n = busy
		mu.Unlock()
	}
	cancel()
	waiting.Wait()
	if busy != 76 {
		t.Errorf("%d of 1100 requests were too many, want 76", busy)
	}
}
