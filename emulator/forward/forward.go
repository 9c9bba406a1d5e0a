package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/vsock"
)

const (
	// maxConns is how many connections a forward carries at once. The next ones
	// wait in the backlog: without a bound a guest, or a port scanner, could use
	// up the descriptors of the process that keeps the enclave.
	maxConns = 512

	// dialTimeout bounds the connection to a socket of this machine.
	dialTimeout = 30 * time.Second
)

// Vsock is the vsock side of a forward: what an enclave offers its parent.
type Vsock interface {
	// Listen takes connections that the enclave opens to its parent's port.
	Listen(port uint32) (net.Listener, error)
	// Dial opens a connection to a port of the enclave. It has its own limit of
	// time.
	Dial(ctx context.Context, port uint32) (net.Conn, error)
}

// A Forward is one [Spec] at work.
type Forward struct {
	spec     Spec
	vsock    Vsock
	listener net.Listener
	ctx      context.Context
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

// Listen opens the listener. Connections wait there until Start. v is used for
// the vsock side from now on, its Dial not before Start.
func Listen(v Vsock, spec Spec) (*Forward, error) {
	l, err := listen(v, spec.Listen)
	if err != nil {
		return nil, fmt.Errorf("forward %s: %w", spec, err)
	}
	f := &Forward{spec: spec, vsock: v, listener: l}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f, nil
}

// Start carries each connection until both sides have ended it, one fails, or
// Close is called. It does not wait. log gets connections that came to nothing.
func (f *Forward) Start(log *slog.Logger) {
	to := func(ctx context.Context) (net.Conn, error) {
		c, err := f.dial(ctx)
		if err != nil && ctx.Err() == nil {
			log.Info("forward refused", "forward", f.String(), "err", err)
		}
		return c, err
	}
	f.done.Go(func() {
		if err := vsock.Forward(f.ctx, newLimit(f.listener, maxConns), to); err != nil {
			log.Warn("forward ended", "forward", f.String(), "err", err)
		}
	})
}

// Close stops listening, cuts every connection and waits for them to end. It may
// be called more than once.
func (f *Forward) Close() error {
	f.cancel()
	err := f.listener.Close()
	f.done.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Spec is what was asked for, with the TCP port that is really listened on.
func (f *Forward) Spec() Spec {
	spec := f.spec
	if spec.Listen.Network == "tcp" {
		spec.Listen.Address = f.listener.Addr().String()
	}
	return spec
}

// String is Spec as text.
func (f *Forward) String() string { return f.Spec().String() }

// Path is the unix socket that Listen made, which Close removes; empty if there
// is none.
func (f *Forward) Path() string {
	if f.spec.Listen.Network == "unix" {
		return f.spec.Listen.Address
	}
	return ""
}

func listen(v Vsock, e Endpoint) (net.Listener, error) {
	switch e.Network {
	case "vsock":
		return v.Listen(e.Port)
	case "unix":
		// Whoever may open the socket may talk to the enclave, so only its owner
		// may. A socket's mode before bind becomes the file's (net/unix/af_unix.c,
		// unix_bind_bsd), so there is no moment at which it is open to others.
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			if ctlErr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); ctlErr != nil {
				return ctlErr
			}
			return err
		}}
		l, err := lc.Listen(context.Background(), "unix", e.Address)
		if errors.Is(err, unix.EADDRINUSE) {
			err = errors.New("the path is taken; remove it if nothing uses it")
		}
		return l, err
	default:
		return net.Listen(e.Network, e.Address)
	}
}

func (f *Forward) dial(ctx context.Context) (net.Conn, error) {
	e := f.spec.Dial
	if e.Network == "vsock" {
		return f.vsock.Dial(ctx, e.Port)
	}
	d := net.Dialer{Timeout: dialTimeout}
	return d.DialContext(ctx, e.Network, e.Address)
}
