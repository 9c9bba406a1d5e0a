package inference

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// serve gives connections of l to handle, at most so many at a time, until ctx ends
// or l fails. Then it closes l, ends the context of every handle, and returns when
// they have: nil if it was ctx that ended.
func serve(ctx context.Context, l net.Listener, most int, handle func(ctx context.Context, c net.Conn)) error {
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
			return fmt.Errorf("inference: %w", err)
		}
		wg.Go(func() {
			defer func() { <-slots }()
			defer c.Close()
			handle(ctx, c)
		})
	}
}

// cut ends reads and writes of c when ctx does. The caller calls what it returns.
func cut(ctx context.Context, c net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
}
