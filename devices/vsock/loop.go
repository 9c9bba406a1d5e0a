package vsock

import (
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// dial connects a Go endpoint at src with the listener, without a guest between
// them: the Host plays both the parent and what the parent talks to, such as a
// console.
//
// Each end has a stream of no device, and each is the other's twin. What one
// writes goes straight into the buffer of the other, which holds
// [Config.Window] bytes.
func (l *Listener) dial(src Addr) (*Conn, error) {
	mu := new(sync.Mutex)
	near, far := newStream(nil, key{}, stateOpen, mu), newStream(nil, key{}, stateOpen, mu)
	near.twin, far.twin = far, near
	window := uint32(l.sw.cfg.Window)
	near.recv.alloc, far.recv.alloc = window, window
	c, accepted := newConn(near, src, l.addr), newConn(far, l.addr, src)
	if !l.sw.loops.add(near) {
		return nil, net.ErrClosed
	}
	near.loops, far.loops = &l.sw.loops, &l.sw.loops
	if !l.offer(accepted) {
		accepted.abandon()
		return nil, unix.ECONNREFUSED
	}
	return c, nil
}

// pass moves what s's user is writing into the twin's buffer as far as there is
// room.
func (s *stream) pass() {
	t := s.twin
	n := min(len(s.out), int(t.recv.alloc)-t.buf.len())
	if n == 0 || t.user.closed || t.user.readShut {
		return
	}
	t.buf.reserve(n)
	t.buf.put(s.out[:n])
	s.done += n
	if s.out = s.out[n:]; len(s.out) == 0 {
		s.out = nil
		s.user.writable.Broadcast()
	}
	t.user.readable.Broadcast()
}

// loops is the set of connections between two Go endpoints. They belong to no
// device, so Close has to find them here.
type loops struct {
	mu     sync.Mutex
	closed bool
	open   map[*stream]struct{} // the dialling end of each
}

// add reports false if the switch is closed.
func (l *loops) add(s *stream) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if l.open == nil {
		l.open = make(map[*stream]struct{})
	}
	l.open[s] = struct{}{}
	return true
}

// remove forgets a connection by either end. The caller holds the stream's mu.
func (l *loops) remove(s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, s)
	delete(l.open, s.twin)
}

// close resets all connections and admits no more.
func (l *loops) close() {
	l.mu.Lock()
	l.closed = true
	open := make([]*stream, 0, len(l.open))
	for s := range l.open {
		open = append(open, s)
	}
	l.mu.Unlock()
	for _, s := range open {
		s.abort(unix.ECONNRESET)
	}
}
