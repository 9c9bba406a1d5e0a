package guard

import "syscall"

// An ownerLink is what a guard hears from its owner.
type ownerLink struct {
	gone    <-chan struct{} // closed when the owner has ended
	kill    chan struct{}
	ack     chan struct{}
	signals chan syscall.Signal
}

// listen reads the owner's commands from its socket. One process may do so at a
// time.
func listen(control int) *ownerLink {
	o := &ownerLink{
		kill:    make(chan struct{}, 1),
		ack:     make(chan struct{}, 1),
		signals: make(chan syscall.Signal, 16),
	}
	o.gone = waitEOF(control, o.parse)
	return o
}

// parse takes two-byte commands. The owner writes each in one piece, and a stream
// socket between processes hands over pieces whole.
func (o *ownerLink) parse(b []byte) {
	for ; len(b) >= 2; b = b[2:] {
		switch b[0] {
		case cmdKill:
			offer(o.kill, struct{}{})
		case cmdAck:
			offer(o.ack, struct{}{})
		case cmdSignal:
			offer(o.signals, syscall.Signal(b[1]))
		}
	}
}

// offer sends unless the channel is full: then what v says is said already, or,
// as with real signals, too many are pending.
func offer[T any](c chan<- T, v T) {
	select {
	case c <- v:
	default:
	}
}

// handOver returns when the owner knows that all is over. If it has ended
// instead, the paths are removed.
func (o *ownerLink) handOver(remove []string) {
	select {
	case <-o.ack:
	case <-o.gone:
		removePaths(remove)
	}
}
