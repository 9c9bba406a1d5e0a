package vfiouser_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/vfiouser"
	vt "github.com/nitrolab/nitrolab/devices/vfiouser/vfiousertest"
)

// raw is a header of arbitrary content.
func raw(id, command uint16, size, flags, errno uint32) []byte {
	h := vt.Header(id, command, 0, flags)
	copy(h[4:], vt.U32(nil, size))
	copy(h[12:], vt.U32(nil, errno))
	return h
}

// TestBrokenStream: where no next message can be found, the connection ends, with
// nothing left behind and the function usable.
func TestBrokenStream(t *testing.T) {
	event := vt.NewEvent(t)
	const giant = 1<<20 + 33
	tests := []struct {
		name string
		b    []byte
		want error
	}{
		{"size 0", raw(1, vt.RegionRead, 0, 0, 0), vfiouser.ErrHeader},
		{"size 15", raw(1, vt.RegionRead, 15, 0, 0), vfiouser.ErrHeader},
		{"size 15 without a reply", raw(1, vt.RegionRead, 15, vt.FlagNoReply, 0), vfiouser.ErrHeader},
		{"one byte too large", raw(1, vt.RegionWrite, giant, 0, 0), vfiouser.ErrSize},
		{"4 GiB", raw(1, vt.RegionWrite, 0xffffffff, vt.FlagNoReply, 0), vfiouser.ErrSize},
		{"giant unknown command", raw(1, 1000, 1<<31, 0, 0), vfiouser.ErrSize},
		{"giant reply", raw(1, vt.DMARead, 1<<31, vt.FlagReply, 0), vfiouser.ErrSize},
		{"type 2", raw(1, vt.RegionRead, 32, 2, 0), vfiouser.ErrHeader},
		{"type 15", raw(1, vt.RegionRead, 32, 15, 0), vfiouser.ErrHeader},
		{"command with the error flag", raw(1, vt.RegionRead, 32, vt.FlagError, 5), vfiouser.ErrHeader},
		{"zeros", make([]byte, 16), vfiouser.ErrHeader},
		{"ones", bytes.Repeat([]byte{0xff}, 64), vfiouser.ErrHeader},
		{"text", []byte("GET / HTTP/1.1\r\nHost: device\r\n\r\n"), vfiouser.ErrHeader},
	}
	for _, tt := range tests {
		for _, when := range []string{"first", "after VERSION", "with descriptors", "behind others"} {
			t.Run(tt.name+"/"+when, func(t *testing.T) {
				checkLeaks(t)
				d := newDevice(t, nil)
				c := vt.Serve(t, d.f, nil)
				if when != "first" {
					c.Negotiate()
				}
				switch when {
				case "with descriptors":
					c.Raw(tt.b, event.FD, event.FD)
				case "behind others":
					message := append(vt.Header(9, vt.RegionRead, 16, 0), vt.Access(vt.ConfigSpace, 0, 2)...)
					c.Raw(append(message, tt.b...))
					c.Reply(9, vt.RegionRead)
				default:
					c.Raw(tt.b)
				}
				ended(t, c, tt.want)
				if err := vt.Attach(t, d.f, nil).Read(0, 0, make([]byte, 4)); err != 0 {
					t.Errorf("function is of no use any more: %v", err)
				}
			})
		}
	}
}

// TestLargestMessage is not too large, and one may follow another.
func TestLargestMessage(t *testing.T) {
	c := vt.Attach(t, newDevice(t, nil).f, nil)
	payload := append(vt.Access(2, 0, 1<<20), make([]byte, 1<<20)...)
	for range 3 {
		c.Do(vt.RegionWrite, payload)
		if m := c.Call(999, payload); m.Errno != uint32(unix.EINVAL) {
			t.Errorf("errno %d, want EINVAL", m.Errno)
		}
	}
}

// TestVanish: a client that goes away at any byte of a conversation.
func TestVanish(t *testing.T) {
	checkLeaks(t)
	ram, event := vt.NewRAM(t, ramSize), vt.NewEvent(t)
	d := newDevice(t, nil)
	parts := []struct {
		b  []byte
		fd int
	}{
		{append(vt.Header(1, vt.Version, 4, 0), 0, 0, 0, 0), -1},
		{append(vt.Header(2, vt.DMAMap, 32, 0), vt.Mapping(0, 0x1000, 0, 3)...), ram.FD},
		{append(vt.Header(3, vt.SetIRQs, 20, 0), vt.IRQs(assign, vt.MSIX, 0, 1)...), event.FD},
		{append(vt.Header(4, vt.SetIRQs, 20, 0), vt.IRQs(vt.DataEventFD|vt.ActionUnmask, vt.INTx, 0, 1)...), event.FD},
		{append(vt.Header(5, vt.RegionRead, 16, 0), vt.Access(vt.ConfigSpace, 0, 4096)...), -1},
		{append(append(vt.Header(6, vt.RegionWrite, 20, vt.FlagNoReply), vt.Access(0, 0, 4)...), 1, 2, 3, 4), -1},
	}
	total := 0
	for _, p := range parts {
		total += len(p.b)
	}
	for cut := 0; cut <= total; cut++ {
		c := vt.Serve(t, d.f, nil)
		left, between := cut, cut == 0
		for _, p := range parts {
			n := min(left, len(p.b))
			if n == 0 {
				break
			}
			if p.fd >= 0 {
				c.Raw(p.b[:n], p.fd)
			} else {
				c.Raw(p.b[:n])
			}
			left -= n
			between = n == len(p.b)
		}
		reads := cut%3 == 0
		if reads {
			c.CloseWrite()
		} else {
			c.Close()
		}
		err := c.Result()
		var pe *vfiouser.ProtocolError
		if !reads && err == nil {
			continue // a reply found nobody before the end of the stream was seen
		}
		if between && err != nil || !between && (!errors.As(err, &pe) || !errors.Is(err, vfiouser.ErrTruncated)) {
			t.Errorf("after %d bytes, between messages %t: Serve = %v", cut, between, err)
		}
		c.Close()
	}
	if err := d.f.Attach(nilBus{}); err != nil {
		t.Errorf("function is still attached: %v", err)
	}
	d.f.Detach()
}

type nilBus struct{}

func (nilBus) Interrupt(pci.InterruptKind, int) bool { return false }
func (nilBus) Memory() pci.Memory                    { return nil }

// TestSilence: half a message is not waited for for ever, nor a client that does not
// read. Silence between messages is no offence.
func TestSilence(t *testing.T) {
	checkLeaks(t)
	vfiouser.ShortenTimeouts(t)
	t.Run("half a message", func(t *testing.T) {
		c := vt.Attach(t, newDevice(t, nil).f, nil)
		c.Raw(vt.Header(1, vt.RegionRead, 16, 0)[:7])
		ended(t, c, vfiouser.ErrTruncated)
	})
	t.Run("half a payload", func(t *testing.T) {
		c := vt.Attach(t, newDevice(t, nil).f, nil)
		c.Raw(vt.Header(1, vt.RegionWrite, 1<<20, 0))
		err := c.Result()
		if !errors.Is(err, vfiouser.ErrTruncated) || !strings.Contains(err.Error(), "REGION_WRITE") {
			t.Errorf("Serve = %v", err)
		}
	})
	t.Run("replies are not read", func(t *testing.T) {
		c := vt.Attach(t, newDevice(t, nil).f, nil)
		read := append(vt.Header(1, vt.RegionRead, 16, 0), vt.Access(vt.ConfigSpace, 0, 4096)...)
		for c.Raw(read) { // until the server gives up
		}
		if err := c.Result(); !errors.Is(err, vfiouser.ErrTruncated) {
			t.Errorf("Serve = %v", err)
		}
	})
	t.Run("between messages", func(t *testing.T) {
		c := vt.Attach(t, newDevice(t, nil).f, nil)
		quiet := vt.NewEvent(t) // nobody signals it
		poll := []unix.PollFd{{Fd: int32(quiet.FD), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, 500); err != nil && err != unix.EINTR { // several timeouts long
			t.Fatal(err)
		}
		c.Sync()
	})
}

// TestUnaskedReplies are dropped.
func TestUnaskedReplies(t *testing.T) {
	checkLeaks(t)
	event := vt.NewEvent(t)
	for _, messages := range []*vfiouser.Messages{nil, {}} {
		c := vt.Attach(t, newDevice(t, nil).f, &vfiouser.Config{Messages: messages})
		fds := held(t)
		for id := range uint16(100) {
			c.Raw(append(vt.Header(id, vt.DMARead, 32, vt.FlagReply), make([]byte, 32)...), event.FD)
			c.Raw(raw(id, vt.DMAWrite, 16, vt.FlagReply|vt.FlagError, 19))
			c.Raw(raw(id, vt.Version, 16, vt.FlagReply, 0))
		}
		c.Sync()
		if got := held(t); got != fds {
			t.Errorf("left behind: %+v before, %+v after", fds, got)
		}
	}
}

// TestLogIsBounded, whatever a client refuses to learn.
func TestLogIsBounded(t *testing.T) {
	var log bytes.Buffer
	c := vt.Attach(t, newDevice(t, nil).f, &vfiouser.Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 10_000 {
		c.Send(77, vt.FlagNoReply, nil)
	}
	c.Sync()
	if n := strings.Count(log.String(), "refused"); n == 0 || n > 1000 {
		t.Errorf("%d warnings about 10,000 refused requests", n)
	}
	c.Send(77, 0, nil)
	var debug bytes.Buffer
	c = vt.Attach(t, newDevice(t, nil).f, &vfiouser.Config{
		Log: slog.New(slog.NewTextHandler(&debug, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	c.Sync()
	if !strings.Contains(debug.String(), "REGION_READ") {
		t.Errorf("log at debug level: %s", fmt.Sprintf("%.200s", debug.String()))
	}
}
