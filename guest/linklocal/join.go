package linklocal

import (
	"context"
	"io"
	"net"
	"sync"
)

// join copies between a and b both ways until both have ended, and closes them. The
// end of one direction is passed on as a half-close: a client may end its request
// by it and wait for the answer. If a direction fails both connections are reset
// where they can be, so that nobody takes a part for the whole. The same happens
// when ctx ends.
func join(ctx context.Context, a, b net.Conn) {
	cut := sync.OnceFunc(func() {
		abort(a)
		abort(b)
	})
	stop := context.AfterFunc(ctx, cut)
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			if _, err := io.Copy(way[1], way[0]); err != nil {
				cut()
				return
			}
			if half, ok := way[1].(interface{ CloseWrite() error }); ok {
				// The other side may be gone altogether, which its own direction
				// finds out if it matters.
				_ = half.CloseWrite()
			}
		})
	}
	wg.Wait()
	if !stop() {
		cut() // waits for the one under way
	}
	_ = a.Close()
	_ = b.Close()
}

// abort closes c so that the other side sees an error if at all possible.
func abort(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = c.Close()
}
