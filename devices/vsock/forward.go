package vsock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Splice copies between a and b in both directions until both have ended, and
// closes them. The end of one direction is passed on as a half-close where the
// other connection can (CloseWrite), so a request that ends with EOF gets its
// answer. If a direction fails, both connections are closed at once, abruptly
// where they can be (SetLinger), so that nobody takes a part for the whole. The
// same happens when ctx ends.
//
// Splice returns when its goroutines have. The error is the first one that was
// not an orderly end: of ctx, of Read or of Write.
func Splice(ctx context.Context, a, b net.Conn) error {
	var once sync.Once
	var first error
	fail := func(err error) {
		once.Do(func() {
			first = err
			abort(a)
			abort(b)
		})
	}
	stop := context.AfterFunc(ctx, func() { fail(ctx.Err()) })
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			if err := oneWay(way[1], way[0]); err != nil {
				fail(err)
			}
		})
	}
	wg.Wait()
	stop()
	once.Do(func() {}) // waits for an abort under way
	_ = a.Close()
	_ = b.Close()
	return first
}

// oneWay copies until src ends and passes the end on.
func oneWay(dst, src net.Conn) error {
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	if half, ok := dst.(interface{ CloseWrite() error }); ok {
		// The other side may be gone altogether, which its own direction
		// reports if it matters.
		_ = half.CloseWrite()
	}
	return nil
}

// abort closes c so that the other side sees an error if at all possible.
func abort(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = c.Close()
}

// Forward accepts connections from l and joins each with one that dial makes,
// until ctx ends or l is closed. It serves both directions: l can be a vsock
// listener and dial reach a TCP or unix socket, or the other way round. A
// connection for which dial fails is reset.
//
// Forward closes l and returns when all connections have ended, which the end
// of ctx brings about; after l was closed by somebody else they end by
// themselves. The error is nil in both cases.
func Forward(ctx context.Context, l net.Listener, dial func(context.Context) (net.Conn, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		in, err := l.Accept()
		if err != nil {
			_ = l.Close()
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			cancel()
			return fmt.Errorf("forward %v: %w", l.Addr(), err)
		}
		wg.Go(func() {
			out, err := dial(ctx)
			if err != nil {
				abort(in)
				return
			}
			_ = Splice(ctx, in, out) // how one of many connections ended
		})
	}
}
