package mux

import (
	"net"
	"sync"
)

// A Listener implements [net.Listener] for a [Guest].
type Listener struct {
	guest *Guest
	conns chan net.Conn // as many as there can be streams

	mu     sync.Mutex // guards closed, and sends into conns against it
	closed bool
	done   chan struct{}
}

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// give hands a connection to Accept. False if nobody will take it.
func (l *Listener) give(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	select {
	case l.conns <- c:
		return true
	default:
		return false
	}
}

// Close implements [net.Listener]. Streams that nobody has accepted are closed, and
// from now on refused.
func (l *Listener) Close() error {
	l.guest.mu.Lock()
	if l.guest.listener == l {
		l.guest.listener = nil
	}
	l.guest.mu.Unlock()

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	close(l.done)
	for {
		select {
		case c := <-l.conns:
			_ = c.Close()
		default:
			return nil
		}
	}
}

// Addr implements [net.Listener].
func (l *Listener) Addr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "virtio-serial" }
func (addr) String() string  { return Port }
