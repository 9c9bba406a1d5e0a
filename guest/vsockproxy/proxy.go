package vsockproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/nitrolab/nitrolab/guest/internal/accept"
	"github.com/nitrolab/nitrolab/guest/internal/splice"
)

// A Proxy carries connections to one service.
type Proxy struct {
	cfg Config
}

// New makes a proxy. It does not look at an allowlist: see [Allowlist.Check].
func New(cfg Config) (*Proxy, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return &Proxy{cfg: cfg}, nil
}

// Serve carries connections of l until ctx ends, then closes l, resets all
// connections and returns nil when nothing is left. It returns early, after the same
// cleanup, if l fails.
func (p *Proxy) Serve(ctx context.Context, l net.Listener) error {
	if err := accept.Serve(ctx, l, p.cfg.Workers, p.carry); err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	return nil
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
