package linklocal

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nitrolab/nitrolab/guest/internal/splice"
)

// A relay carries one service to its port of the Host.
type relay struct {
	*Services
	name    string
	port    uint32
	failing atomic.Bool // the last connection to the Host failed
}

// connect connects to the Host. Failures are logged when they begin and when they
// end: whoever connects decides how often.
func (r *relay) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := r.dial(ctx, r.port)
	switch {
	case err != nil && ctx.Err() != context.Canceled && !r.failing.Swap(true):
		r.log.Warn("service is out of reach; more is not reported", "service", r.name, "err", err)
	case err == nil && r.failing.Swap(false):
		r.log.Info("service is in reach again", "service", r.name)
	}
	return c, err
}

// stream carries the connections that l accepts, until ctx ends.
func (r *relay) stream(ctx context.Context, l net.Listener) {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer l.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	places := make(chan struct{}, maxConns)
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		c, err := l.Accept()
		if err != nil {
			<-places
			if !r.goOn(ctx, err) {
				return
			}
			continue
		}
		wg.Go(func() {
			defer func() { <-places }()
			r.carry(ctx, c)
		})
	}
}

// carry joins one connection with the Host. One that the Host does not take is
// reset, so that its program sees at once that nobody is there.
func (r *relay) carry(ctx context.Context, c net.Conn) {
	host, err := r.connect(ctx)
	if err != nil {
		splice.Abort(c)
		return
	}
	_ = splice.Join(ctx, c, host) // nobody here to tell
}

// goOn says whether to accept again after a failure, when it is time to.
func (r *relay) goOn(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return false
	}
	r.log.Warn("accept failed", "service", r.name, "err", err)
	t := time.NewTimer(acceptPause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
