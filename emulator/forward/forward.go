package forward

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"

	"github.com/nitrolab/nitrolab/devices/vsock"
)

// Vsock is the vsock side of a forward: what an enclave offers its parent.
type Vsock interface {
	// Listen takes connections that the enclave opens to its parent's port.
	Listen(port uint32) (net.Listener, error)
	// Dial opens a connection to a port of the enclave.
	Dial(ctx context.Context, port uint32) (net.Conn, error)
}

// A Forward is one running [Spec].
type Forward struct {
	spec     Spec
	listener net.Listener
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

// Start listens, and then carries each connection until either side closes it
// or Close is called. The listener is open when Start returns.
func Start(v Vsock, spec Spec, log *slog.Logger) (*Forward, error) {
	l, err := listen(v, spec.Listen)
	if err != nil {
		return nil, fmt.Errorf("forward %s: %w", spec, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &Forward{spec: spec, listener: l, cancel: cancel}
	f.done.Go(func() {
		to := func(ctx context.Context) (net.Conn, error) {
			c, err := dial(ctx, v, spec.Dial)
			if err != nil {
				log.Info("forward refused", "forward", spec.String(), "err", err)
			}
			return c, err
		}
		if err := vsock.Forward(ctx, l, to); err != nil {
			log.Warn("forward ended", "forward", spec.String(), "err", err)
		}
	})
	return f, nil
}

// Addr is the address that is listened on; it tells the port of "tcp:…:0".
func (f *Forward) Addr() net.Addr { return f.listener.Addr() }

// Close stops listening, cuts every connection and waits for them to end.
func (f *Forward) Close() error {
	f.cancel()
	f.done.Wait()
	return nil
}

func listen(v Vsock, e Endpoint) (net.Listener, error) {
	switch e.Network {
	case "vsock":
		return v.Listen(e.Port)
	case "unix":
		l, err := net.Listen("unix", e.Address)
		if err != nil {
			return nil, err
		}
		// Whoever may open the socket may talk to the enclave: its owner.
		if err := os.Chmod(e.Address, 0o600); err != nil {
			l.Close()
			return nil, err
		}
		return l, nil
	default:
		return net.Listen(e.Network, e.Address)
	}
}

func dial(ctx context.Context, v Vsock, e Endpoint) (net.Conn, error) {
	if e.Network == "vsock" {
		return v.Dial(ctx, e.Port)
	}
	var d net.Dialer
	return d.DialContext(ctx, e.Network, e.Address)
}
