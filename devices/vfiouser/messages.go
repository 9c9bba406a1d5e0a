package vfiouser

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
)

// ErrNotConnected means that no client is there.
var ErrNotConnected = errors.New("vfio-user: no client")

// Messages reaches guest memory by asking the client, instead of in shared memory
// (DMA_READ and DMA_WRITE). QEMU then does the access on behalf of the function, so
// that one the guest did not allow raises a fault of its IOMMU, and memory that is not
// shared is reached, too. It takes three thread switches each and is not for data.
//
// The zero value is ready to be put into a [Config], of one connection at a time. Its
// methods may be called concurrently, but never from a handler of the function or
// with anything held that a handler waits for: QEMU answers nothing while a virtual
// CPU waits for the device.
//
// QEMU before 11.1 has a layout of its own for these messages: reads work, writes
// land four bytes too high.
type Messages struct {
	mu      sync.Mutex
	session *session
	id      uint16
	waiting map[uint16]*request
}

// A request is one message the client has not answered.
type request struct {
	command command
	read    []byte // where data goes
	done    chan error
}

// Read reads len(p) bytes at iova, at most 1 MiB. The error wraps ErrNotConnected, the
// syscall.Errno of the client (QEMU: ENODEV if the IOMMU refused) or that of ctx; a
// client that has not answered when ctx ends may still do the access.
func (c *Messages) Read(ctx context.Context, iova uint64, p []byte) error {
	return c.ask(ctx, cmdDMARead, iova, len(p), nil, p)
}

// Write writes p to iova, as Read reads.
func (c *Messages) Write(ctx context.Context, iova uint64, p []byte) error {
	return c.ask(ctx, cmdDMAWrite, iova, len(p), p, nil)
}

func (c *Messages) ask(ctx context.Context, cmd command, iova uint64, n int, data, read []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("vfio-user %s at %#x+%#x: %w", cmd, iova, n, err)
		}
	}()
	if n == 0 || n > maxTransfer {
		return fmt.Errorf("%w: %d bytes", ErrSize, n)
	}
	r := &request{command: cmd, read: make([]byte, len(read)), done: make(chan error, 1)}
	s, id, err := c.begin(r)
	if err != nil {
		return err
	}
	b := make([]byte, headerSize, headerSize+sizeDMA+len(data))
	b = append(append64(b, iova, uint64(n)), data...)
	putHeader(b, id, cmd, 0, 0)
	if err := s.sock.send(b, nil); err != nil {
		c.end(id)
		return fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	select {
	case err = <-r.done:
		copy(read, r.read) // r.read, so that a late answer does not write to p
		return err
	case <-ctx.Done():
		c.end(id)
		return ctx.Err()
	}
}

// maxWaiting bounds requests without an answer.
const maxWaiting = 1024

// begin registers r under an id that no other request has.
func (c *Messages) begin(r *request) (*session, uint16, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.session == nil:
		return nil, 0, ErrNotConnected
	case len(c.waiting) >= maxWaiting:
		return nil, 0, syscall.EBUSY
	}
	for c.id++; c.waiting[c.id] != nil; c.id++ {
	}
	c.waiting[c.id] = r
	return c.session, c.id, nil
}

// end forgets a request.
func (c *Messages) end(id uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// connect makes s the client that is asked, unless there is one. A nil Messages asks
// nobody.
func (c *Messages) connect(s *session) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		c.session = s
		c.waiting = map[uint16]*request{}
	}
}

// disconnect ends what waits for s.
func (c *Messages) disconnect(s *session) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != s {
		return
	}
	c.session = nil
	for id, r := range c.waiting {
		r.done <- ErrNotConnected
		delete(c.waiting, id)
	}
}

// receive passes a reply on. One that nobody waits for any more is dropped.
func (c *Messages) receive(s *session, m *message) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.waiting[m.id]
	if c.session != s || r == nil || r.command != m.command {
		return
	}
	delete(c.waiting, m.id)
	switch {
	case m.flags&flagError != 0 && m.errno != 0:
		r.done <- syscall.Errno(m.errno)
	case m.flags&flagError != 0:
		r.done <- syscall.EIO
	case len(m.payload) < len(r.read):
		r.done <- fmt.Errorf("%w: %d bytes of payload", ErrSize, len(m.payload))
	default:
		// At the end: QEMU before 11.1 puts 12 bytes before the data.
		copy(r.read, m.payload[len(m.payload)-len(r.read):])
		r.done <- nil
	}
}
