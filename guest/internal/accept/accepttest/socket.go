// Package accepttest plays the listener of a server in tests, without a network, so
// that time in them can be synctest's.
package accepttest

import (
	"net"
	"sync"
)

// A Socket is a listener that hands out the ends of pipes.
type Socket struct {
	Conns chan net.Conn // the next connections, for who takes them
	Fails chan error    // the next errors of Accept

	closed chan struct{}
	once   sync.Once
}

// New makes a Socket that nobody has connected to.
func New() *Socket {
	return &Socket{Conns: make(chan net.Conn), Fails: make(chan error), closed: make(chan struct{})}
}

// Connect is a client: its end of a connection that was accepted.
func (s *Socket) Connect() net.Conn {
	ours, theirs := net.Pipe()
	s.Conns <- theirs
	return ours
}

// Accept implements net.Listener.
func (s *Socket) Accept() (net.Conn, error) {
	select {
	case c := <-s.Conns:
		return c, nil
	case err := <-s.Fails:
		return nil, err
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (s *Socket) Close() error { s.once.Do(func() { close(s.closed) }); return nil }

// Addr implements net.Listener.
func (s *Socket) Addr() net.Addr { return &net.UnixAddr{} }
