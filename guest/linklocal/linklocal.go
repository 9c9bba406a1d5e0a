package linklocal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mdlayher/vsock"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/guest/linklocal/endpoints"
)

const (
	// maxConns bounds the connections that one service carries at once. More wait
	// in the kernel's backlog.
	maxConns = 256

	// maxQueries bounds the datagrams that are being answered. More are lost, as
	// datagrams may be; who asked asks again.
	maxQueries = 64

	// dialTimeout bounds the connection to the Host. The kernel's own limit is 2 s.
	dialTimeout = 5 * time.Second

	// queryTimeout bounds the whole of one DNS query that came as a datagram: after
	// 5 s resolvers ask again.
	queryTimeout = 5 * time.Second

	// acceptPause is the wait after a failure to accept, such as too many open
	// files.
	acceptPause = 100 * time.Millisecond
)

// A Config changes how [Start] works. The zero value is right in an instance.
type Config struct {
	Log *slog.Logger // nil means none
	// Dial connects to a port of the Host; nil means vsock. Connections with
	// CloseWrite keep half-closes.
	Dial func(ctx context.Context, port uint32) (net.Conn, error)
}

// Services are the services at work.
type Services struct {
	log    *slog.Logger
	dial   func(ctx context.Context, port uint32) (net.Conn, error)
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Start brings the loopback interface up, gives it the addresses, and serves until
// ctx ends or Close is called. When it returns, connections are taken. It needs
// CAP_NET_ADMIN and CAP_NET_BIND_SERVICE; an address that is there already is
// no error. The addresses stay.
func Start(ctx context.Context, cfg Config) (*Services, error) {
	return start(ctx, cfg, loopback{})
}

// services are what is served. Those with datagrams are DNS.
var services = []struct {
	name      string
	addr      netip.AddrPort
	port      uint32
	datagrams bool
}{
	{"instance metadata", netip.AddrPortFrom(endpoints.IMDS, endpoints.IMDSPort), ports.IMDS, false},
	{"DNS", netip.AddrPortFrom(endpoints.DNS, endpoints.DNSPort), ports.DNS, true},
	{"AWS services", netip.AddrPortFrom(endpoints.Services, endpoints.ServicesPort), ports.AWS, false},
}

// network is what Start asks of the kernel.
type network interface {
	// AddAddresses brings the interface up with the addresses.
	AddAddresses(addrs ...netip.Addr) error
	Listen(ctx context.Context, at netip.AddrPort) (net.Listener, error)
	ListenPacket(ctx context.Context, at netip.AddrPort) (net.PacketConn, error)
}

func start(ctx context.Context, cfg Config, n network) (_ *Services, err error) {
	s := &Services{log: cfg.Log, dial: cfg.Dial}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.dial == nil {
		s.dial = dialHost
	}
	ctx, s.cancel = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("link-local services: %w", err), s.Close())
		}
	}()
	var addrs []netip.Addr
	for _, v := range services {
		addrs = append(addrs, v.addr.Addr())
	}
	if err := n.AddAddresses(addrs...); err != nil {
		return nil, err
	}
	for _, v := range services {
		r := &relay{Services: s, name: v.name, port: v.port}
		l, err := n.Listen(ctx, v.addr)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.name, err)
		}
		s.wg.Go(func() { r.stream(ctx, l) })
		if !v.datagrams {
			continue
		}
		p, err := n.ListenPacket(ctx, v.addr)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.name, err)
		}
		s.wg.Go(func() { r.datagrams(ctx, p) })
	}
	return s, nil
}

// Close ends the services with all connections and waits for them.
func (s *Services) Close() error {
	s.cancel()
	s.wg.Wait()
	return nil
}

// dialHost connects to the Host, which is CID 2 for an instance. The error is a
// [*net.OpError].
func dialHost(ctx context.Context, port uint32) (net.Conn, error) {
	c, err := vsock.DialContext(ctx, vsock.Host, port, nil)
	if err != nil {
		return nil, err // not c: an interface that holds nil is not nil
	}
	return c, nil
}
