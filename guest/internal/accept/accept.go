// Package accept is the loop around a listener: so many connections at a time, and an
// end in order.
package accept

import (
	"context"
	"net"
	"sync"
)

// Serve gives connections of l to handle, each in a goroutine and at most most at a
// time, until ctx ends or l fails; the next connection waits in l. Then it closes l,
// ends the context of every handle, and returns when they have returned: nil if it
// was ctx that ended, else the error of l.
//
// The connection is closed behind handle, which must return soon after its context
// ends.
func Serve(ctx context.Context, l net.Listener, most int, handle func(ctx context.Context, c net.Conn)) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	slots := make(chan struct{}, most)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		wg.Go(func() {
			defer func() { <-slots }()
			defer c.Close()
			handle(ctx, c)
		})
	}
}
