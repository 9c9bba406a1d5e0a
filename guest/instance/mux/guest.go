package mux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// A Guest takes streams from a port, and hands them to a [Listener] if there is
// one. The zero value is ready to use. Ports come and go; the listener stays.
type Guest struct {
	mu       sync.Mutex
	listener *Listener // nil if nobody takes streams
}

// Run serves port until ctx or the port ends, and closes it. It returns when all
// its streams have ended: nil after ctx has ended, else the port's error.
func (g *Guest) Run(ctx context.Context, port io.ReadWriteCloser) error {
	r := &run{guest: g, m: newMux(port)}
	stop := context.AfterFunc(ctx, func() { _ = r.m.close() })
	defer stop()
	err := r.m.receive(r.handle)
	r.m.wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve stream port: %w", err)
}

// A run is a Guest on one port.
type run struct {
	guest *Guest
	m     *mux
}

func (r *run) handle(k kind, id uint32, payload []byte) {
	switch k {
	case kindHello:
		r.m.abortAll()
	case kindOpen:
		if len(payload) == 0 || payload[0] != version || !r.open(id) {
			r.m.send(kindClose, id, nil)
		}
	default:
		if !r.m.both(k, id, payload) {
			r.m.send(kindClose, id, nil)
		}
	}
}

// open gives a new stream to the listener.
func (r *run) open(id uint32) bool {
	r.guest.mu.Lock()
	l := r.guest.listener
	r.guest.mu.Unlock()
	if l == nil {
		return false
	}
	ready := make(chan struct{})
	s, err := r.m.add(id, func() { <-ready })
	if err != nil {
		// One that is open stays: the Host does not do that.
		return errors.Is(err, errTwice)
	}
	r.m.send(kindOpened, id, nil) // before any of its data
	close(ready)
	if !l.give(s.user) {
		_ = s.user.Close()
	}
	return true
}

// Listen makes the guest take streams. There may be one listener at a time.
func (g *Guest) Listen() (*Listener, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listener != nil {
		return nil, errors.New("listen for streams: there is a listener")
	}
	g.listener = &Listener{guest: g, conns: make(chan net.Conn, MaxStreams), done: make(chan struct{})}
	return g.listener, nil
}
