package vsock

import (
	"context"
	"sync"

	"golang.org/x/sys/unix"
)

// dial connects a Go endpoint with a port of d's guest, as described with
// [Switch.Dial].
func (d *Device) dial(ctx context.Context, src, dst Addr) (*Conn, error) {
	s := newStream(d, key{src.CID, src.Port, dst.Port}, stateRequested, new(sync.Mutex))
	s.pending = pendRequest
	c := newConn(s, src, dst)
	if err := d.add(s); err != nil {
		if d.closed.Load() {
			err = unix.EHOSTUNREACH
		}
		return nil, err
	}
	s.mu.Lock()
	d.enqueue(s)
	s.mu.Unlock()
	_ = d.fill()
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		c.wakeAll()
	})
	defer stop()
	if err := c.answer(ctx); err != nil {
		_ = d.fill() // sends the RST
		return nil, err
	}
	return c, nil
}

// answer waits until the guest answered. After an error the connection is
// gone.
func (c *Conn) answer(ctx context.Context) error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.state == stateRequested && ctx.Err() == nil {
		c.readable.Wait()
	}
	if c.connected {
		return nil // if it ended since, Read gives what came before
	}
	err := s.err
	if s.state != stateDead {
		err = ctx.Err()
	}
	c.end(true)
	return err
}
