package imds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// Limits of [Service.Serve]. Whoever asks is inside a guest.
const (
	maxConns       = 64       // at once; more wait in the backlog of the listener
	maxHeaderBytes = 16 << 10 // of a request
	headerTimeout  = 5 * time.Second
	requestTimeout = 10 * time.Second // a whole request, and again its answer
	idleTimeout    = 30 * time.Second
)

// Serve answers what comes over the connections of l until ctx ends, and closes l
// and the connections. It returns nil after ctx has ended or l was closed, else
// the error of Accept.
func (s *Service) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var conns sync.WaitGroup
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		// Close of a server does not wait for its connections. A new one is told of
		// before Serve returns, and a closed one at the end of its goroutine.
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				conns.Done()
			}
		},
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err := server.Serve(netutil.LimitListener(l, maxConns))
	ended := ctx.Err() != nil
	cancel()
	_ = server.Close()
	conns.Wait()
	if ended || errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("serve instance metadata on %v: %w", l.Addr(), err)
}
