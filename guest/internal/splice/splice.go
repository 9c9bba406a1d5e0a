// Package splice carries a connection on to another one, for the proxies in an
// instance.
package splice

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// halfOpenTimeout is how long nothing may move on a connection of which one direction
// has ended: longer than a service takes for an answer.
const halfOpenTimeout = 2 * time.Minute

// Join copies between a and b both ways until both have ended, and closes them. The
// end of one direction is passed on as a half-close. The error is that of the
// direction that failed first; then, and when ctx ends, both connections are reset
// where they can be, so that nobody takes a part for the whole.
//
// There is no limit of time for a connection on which nothing moves: a client may
// keep one for later, and the kernel's keep-alive finds a server that is gone. Once
// one direction has ended the other has to move every halfOpenTimeout, or whoever
// does not close its end would keep a worker for ever.
func Join(ctx context.Context, a, b net.Conn) error {
	var once sync.Once
	var failed error
	cut := func(err error) {
		once.Do(func() {
			failed = err
			Abort(a)
			Abort(b)
		})
	}
	stop := context.AfterFunc(ctx, func() { cut(context.Cause(ctx)) })
	defer stop()
	var wg sync.WaitGroup
	sources := [2]*source{{Conn: a}, {Conn: b}}
	for i, from := range sources {
		to := sources[1-i]
		wg.Go(func() {
			if _, err := io.Copy(to.Conn, from); err != nil {
				cut(err)
				return
			}
			to.halfOpen()
			if half, ok := to.Conn.(interface{ CloseWrite() error }); ok {
				// An error is that of a side that is gone, which its own direction
				// finds out if it matters.
				_ = half.CloseWrite()
			}
		})
	}
	wg.Wait()
	once.Do(func() { // nothing failed; waits for a cut under way
		a.Close()
		b.Close()
	})
	return failed
}

// A source is a connection that is read from. It hides that the connection may copy
// by itself, which would not look at the limit of time.
type source struct {
	net.Conn
	limited atomic.Bool
}

// halfOpen limits the time of each Read from now on, also of the one under way.
func (s *source) halfOpen() {
	s.limited.Store(true)
	s.extend()
}

// extend gives the next Read its time. An error is that of a closed connection,
// which Read meets too.
func (s *source) extend() { _ = s.Conn.SetReadDeadline(time.Now().Add(halfOpenTimeout)) }

func (s *source) Read(b []byte) (int, error) {
	if s.limited.Load() {
		s.extend()
	}
	return s.Conn.Read(b)
}

// Abort closes c so that the other side sees an error if it can: TCP has a reset,
// vsock has one for what is not read yet.
func Abort(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = c.Close()
}
