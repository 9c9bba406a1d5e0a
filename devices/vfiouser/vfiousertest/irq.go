package vfiousertest

import (
	"encoding/binary"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// An Event is an eventfd, such as the client's end of an interrupt.
type Event struct {
	t    testing.TB
	FD   int
	poll [1]unix.PollFd
	buf  [8]byte
}

// NewEvent returns an eventfd, until the end of the test.
func NewEvent(t testing.TB) *Event {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return &Event{t: t, FD: fd, poll: [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}}
}

// Count takes what has been signalled since the last look, without waiting.
func (e *Event) Count() int {
	e.t.Helper()
	for {
		switch _, err := unix.Read(e.FD, e.buf[:]); err {
		case nil:
			return int(binary.NativeEndian.Uint64(e.buf[:]))
		case unix.EAGAIN:
			return 0
		case unix.EINTR:
		default:
			e.t.Fatal(err)
		}
	}
}

// Wait waits for a signal and takes what has been signalled.
func (e *Event) Wait() int {
	e.t.Helper()
	if n := e.Count(); n > 0 {
		return n
	}
	for {
		n, err := unix.Poll(e.poll[:], int(Wait.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if n != 1 || err != nil {
			e.t.Fatalf("vfiousertest: no signal: %v", err)
		}
		return e.Count()
	}
}

// Signal signals once.
func (e *Event) Signal() {
	e.t.Helper()
	if _, err := unix.Write(e.FD, binary.NativeEndian.AppendUint64(nil, 1)); err != nil {
		e.t.Fatal(err)
	}
}

// IRQs is the payload of SET_IRQS, as QEMU makes it.
func IRQs(flags, index, start, count uint32) []byte { return U32(nil, 20, flags, index, start, count) }

// SetIRQs is SET_IRQS with the eventfds of events.
func (c *Client) SetIRQs(flags, index, start, count uint32, events ...*Event) syscall.Errno {
	c.t.Helper()
	var fds []int
	for _, e := range events {
		fds = append(fds, e.FD)
	}
	m := c.Call(SetIRQs, IRQs(flags, index, start, count), fds...)
	if len(m.Payload) > 0 {
		c.t.Fatalf("vfiousertest: SET_IRQS reply has a payload: %x", m.Payload)
	}
	return syscall.Errno(m.Errno)
}

// Vectors gives interrupts from start on an eventfd each, by one message for each as
// QEMU does.
func (c *Client) Vectors(index, start uint32, n int) []*Event {
	c.t.Helper()
	var events []*Event
	for i := range uint32(n) {
		e := NewEvent(c.t)
		if errno := c.SetIRQs(DataEventFD|ActionTrigger, index, start+i, 1, e); errno != 0 {
			c.t.Fatalf("vfiousertest: eventfd for vector %d of index %d: %v", start+i, index, errno)
		}
		events = append(events, e)
	}
	return events
}

// Capability returns the offset of a capability in configuration space, which must be
// there.
func (c *Client) Capability(id uint32) int {
	c.t.Helper()
	for off, n := int(c.Config(0x34, 1)), 0; off >= 0x40 && n < 48; n++ {
		head := c.Config(off, 2)
		if head&0xff == id {
			return off
		}
		off = int(head >> 8)
	}
	c.t.Fatalf("vfiousertest: function has no capability %#x", id)
	return 0
}

// EnableMSIX does what a driver and QEMU do together to enable MSI-X with n vectors.
func (c *Client) EnableMSIX(n int) []*Event {
	c.t.Helper()
	at := c.Capability(0x11)
	c.SetConfig(at+2, 2, 0xc000)
	c.SetIRQs(DataNone|ActionTrigger, INTx, 0, 0)
	if errno := c.SetIRQs(DataEventFD|ActionTrigger, MSIX, 0, 1); errno != 0 {
		c.t.Fatalf("vfiousertest: no vector: %v", errno)
	}
	c.SetConfig(at+2, 2, 0x8000)
	return c.Vectors(MSIX, 0, n)
}

// DisableMSIX undoes EnableMSIX.
func (c *Client) DisableMSIX() {
	c.t.Helper()
	c.SetConfig(c.Capability(0x11)+2, 2, 0)
	if errno := c.SetIRQs(DataNone|ActionTrigger, MSIX, 0, 0); errno != 0 {
		c.t.Fatalf("vfiousertest: disable MSI-X: %v", errno)
	}
}
