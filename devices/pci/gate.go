package pci

import "sync/atomic"

// A gate lets any number of users through while it is open, and tells when the
// last of them left after it was closed. Users never wait.
type gate struct {
	// state counts users; gateClosed is set while the gate is closed.
	state   atomic.Int64
	drained chan struct{} // buffered: somebody was the last to leave
}

const gateClosed = 1 << 62

// init closes a new gate.
func (g *gate) init() {
	g.drained = make(chan struct{}, 1)
	g.state.Store(gateClosed)
}

// enter reports whether the gate is open; then leave has to follow. It may be
// nested.
func (g *gate) enter() bool {
	if g.state.Add(1) < gateClosed {
		return true
	}
	g.leave()
	return false
}

func (g *gate) leave() {
	if g.state.Add(-1) == gateClosed {
		g.signal()
	}
}

func (g *gate) signal() {
	select {
	case g.drained <- struct{}{}:
	default:
	}
}

// set opens or closes the gate and reports whether that closed it.
func (g *gate) set(open bool) (closed bool) {
	if open {
		g.state.And(^int64(gateClosed))
		g.signal() // whoever drains need not go on
		return false
	}
	return g.state.Or(gateClosed)&gateClosed == 0
}

// drain waits until no user is inside a closed gate. Users copy memory, so that is
// soon; one that blocks breaks the rule of Memory.View.
func (g *gate) drain() {
	for g.state.Load() > gateClosed {
		<-g.drained
	}
	g.signal() // somebody else may be waiting, too
}
