package inference_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// A network is a listener, and how to reach it.
type network struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	fails  chan error // of Accept
}

func newNetwork() *network {
	return &network{conns: make(chan net.Conn), closed: make(chan struct{}), fails: make(chan error, 1)}
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case err := <-n.fails:
		return nil, err
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

func (n *network) Addr() net.Addr { return &net.UnixAddr{Name: "network", Net: "pipe"} }

func (n *network) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	server := newBuffered(theirs)
	err := errors.New("connection refused")
	select {
	case n.conns <- server:
		return ours, nil
	case <-n.closed:
	case <-ctx.Done():
		err = ctx.Err()
	}
	server.Close()
	return nil, err
}

// A buffered connection does not wait for the other side to read, as a socket does
// not and a pipe does. Without it a client that refuses a certificate could not say
// so while the service is still writing.
type buffered struct {
	net.Conn
	queue  chan []byte // nil is the end
	closed chan struct{}
	once   sync.Once
}

func newBuffered(c net.Conn) *buffered {
	b := &buffered{Conn: c, queue: make(chan []byte, 1<<10), closed: make(chan struct{})}
	go func() {
		defer c.Close()
		for p := range b.queue {
			if p == nil {
				return
			}
			if _, err := c.Write(p); err != nil {
				return
			}
		}
	}()
	return b
}

func (b *buffered) Write(p []byte) (int, error) {
	select {
	case <-b.closed:
		return 0, net.ErrClosed
	default:
	}
	select {
	case b.queue <- append([]byte{}, p...):
		return len(p), nil
	default:
		return 0, errors.New("nobody reads")
	}
}

// Close lets the other side read what was written, for a second.
func (b *buffered) Close() error {
	b.once.Do(func() {
		close(b.closed)
		_ = b.SetWriteDeadline(time.Now().Add(time.Second))
		select {
		case b.queue <- nil:
		default: // it does not write any more
			b.Conn.Close()
		}
	})
	return nil
}
