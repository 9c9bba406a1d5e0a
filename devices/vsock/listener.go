package vsock

import (
	"net"
	"os"
	"sync"
	"time"
)

// A Listener is a Go endpoint that guests, and [Switch.Dial], can connect to. It
// implements net.Listener.
//
// A guest is connected, and can send as much as its credit allows, before
// Accept is called. Each guest has its own share of the backlog
// ([Config.Backlog]), so none can keep another out.
type Listener struct {
	sw   *Switch
	addr Addr

	// mu protects what follows.
	mu       sync.Mutex
	ready    sync.Cond
	closed   bool
	queue    []*Conn         // oldest first
	waiting  map[*Device]int // nil stands for Go endpoints
	deadline deadline
}

var _ net.Listener = (*Listener)(nil)

func newListener(sw *Switch, a Addr) *Listener {
	l := &Listener{sw: sw, addr: a, waiting: make(map[*Device]int)}
	l.ready.L = &l.mu
	return l
}

// Addr is the [Addr] listened at.
func (l *Listener) Addr() net.Addr { return l.addr }

// Accept returns the next connection, a [*Conn]. It may have ended already;
// what the guest sent can still be read. Failures are *net.OpError with
// net.ErrClosed or os.ErrDeadlineExceeded.
func (l *Listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, l.opError("accept", net.ErrClosed)
		case l.deadline.expired:
			return nil, l.opError("accept", os.ErrDeadlineExceeded)
		case len(l.queue) > 0:
			c := l.queue[0]
			l.queue[0] = nil
			l.queue = l.queue[1:]
			if l.waiting[c.s.dev]--; l.waiting[c.s.dev] == 0 {
				delete(l.waiting, c.s.dev)
			}
			return c, nil
		}
		l.ready.Wait()
	}
}

// SetDeadline bounds waiting in Accept, as net.TCPListener's.
func (l *Listener) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.opError("set", net.ErrClosed)
	}
	l.deadline.at(t, &l.ready)
	return nil
}

// Close frees the address and resets the connections that wait for Accept.
// Accepted ones are not affected. Close returns nil and may be called again.
func (l *Listener) Close() error {
	l.sw.unlisten(l)
	l.mu.Lock()
	l.closed = true
	l.deadline.stop()
	queue := l.queue
	l.queue, l.waiting = nil, nil
	l.ready.Broadcast()
	l.mu.Unlock()
	for _, c := range queue {
		c.abandon()
	}
	return nil
}

// offer queues c for Accept. It reports false if the guest's share of the
// backlog is used up or the listener closed.
func (l *Listener) offer(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.waiting[c.s.dev] >= l.sw.cfg.Backlog {
		return false
	}
	l.waiting[c.s.dev]++
	l.queue = append(l.queue, c)
	l.ready.Signal()
	return true
}

func (l *Listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: l.addr.Network(), Addr: l.addr, Err: err}
}
