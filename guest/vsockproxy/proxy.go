package vsockproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"github.com/nitrolab/nitrolab/guest/internal/splice"
)

// A Proxy carries connections to one service.
type Proxy struct {
	cfg   Config
	slots chan struct{} // one element for each connection
}

// New makes a proxy. It does not look at an allowlist: see [Allowlist.Check].
func New(cfg Config) (*Proxy, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return &Proxy{cfg: cfg, slots: make(chan struct{}, cfg.Workers)}, nil
}

// Serve carries connections of l until ctx ends, then closes l, resets all
// connections and returns nil when nothing is left. It returns early, after the same
// cleanup, if l fails.
func (p *Proxy) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()

	for {
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := l.Accept()
		if err != nil {
			<-p.slots
			if ctx.Err() != nil {
				return nil
			}
			l.Close()
			return fmt.Errorf("accept: %w", err)
		}
		wg.Go(func() {
			defer func() { <-p.slots }()
			p.carry(ctx, c)
		})
	}
}

// carry owns client.
func (p *Proxy) carry(ctx context.Context, client net.Conn) {
	log := p.cfg.Log.With("client", client.RemoteAddr())
	server, err := p.connect(ctx)
	if err != nil {
		if ctx.Err() == nil {
			log.Warn("no connection", "remote", p.cfg.Remote, "err", err)
		}
		splice.Abort(client)
		return
	}
	log.Info("connected", "server", server.RemoteAddr())
	if err := splice.Join(ctx, client, server); err != nil && ctx.Err() == nil {
		log.Info("connection broke", "err", err)
	}
	log.Info("disconnected")
}

// connect tries the addresses of the remote host one after the other.
func (p *Proxy) connect(ctx context.Context) (net.Conn, error) {
	lookupCtx, cancel := context.WithTimeout(ctx, lookupTimeout)
	addrs, err := lookup(lookupCtx, p.cfg.Resolve, p.cfg.Family, p.cfg.Remote.Host)
	cancel()
	if err != nil {
		return nil, err
	}
	ctx, cancel = context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var errs []error
	for i, addr := range addrs {
		c, err := p.dial(ctx, addr, len(addrs)-i)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// dial tries one of the left addresses, with its share of the time left: the first
// one must not use it all up when it drops packets.
func (p *Proxy) dial(ctx context.Context, addr netip.Addr, left int) (net.Conn, error) {
	ctx, cancel := share(ctx, left)
	defer cancel()
	return p.cfg.Dial(ctx, "tcp", net.JoinHostPort(addr.String(), strconv.Itoa(int(p.cfg.Remote.Port))))
}
