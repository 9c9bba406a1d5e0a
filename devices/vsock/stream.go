package vsock

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A state is where a connection stands between the guest and us.
type state uint8

const (
	stateRequested state = iota // we ask the guest: REQUEST waits or is under way
	stateAnswering              // the guest asked us, and another guest has to answer
	stateOpen                   // connected
	stateClosing                // our end is gone; SHUTDOWN of both directions waits or is under way
	stateDead                   // not in the table any more
)

// Control packets that wait to be sent. Each is a bit, so however many times a
// guest provokes one, it waits once.
type pending uint8

const (
	pendRequest pending = 1 << iota
	pendResponse
	pendCreditUpdate
	pendCreditRequest
)

// A stream is one connection of a guest, seen from our side. Behind it is
// either a Go endpoint (user) or the stream of another guest (peer).
//
// A connection between two Go endpoints is made of two streams as well, which
// then have no device and are each other's twin.
type stream struct {
	dev     *Device // nil if there is no guest
	key     key
	account *account // of dev; set when the stream is added to it, immutable then

	// dev.mu protects these.
	turn     node[stream] // in account.ready
	deadline time.Time
	timer    int // index in dev.timers, -1 if none

	// mu protects what follows.
	mu *sync.Mutex

	queued bool // in account.ready

	state    state
	pending  pending
	err      error // why it is dead; nil if both sides had said goodbye
	released bool  // does not count against the guest's limits any more

	shutPeer uint32 // Shutdown flags that the guest sent
	shutWant uint32 // that we want the guest to know
	shutSent uint32 // that we sent

	recv receiveCredit
	buf  ring // received and not yet taken

	send sendCredit
	out  []byte        // the rest of the slice that user is writing
	done int           // bytes of it that were sent
	poll time.Duration // interval of credit requests while send blocks, 0 if it does not

	user *Conn
	peer *stream // has the same mu

	twin  *stream // has the same mu
	loops *loops  // set with twin

	egress *egress // what faults do to user's packets, nil until there was one
}

func newStream(d *Device, k key, st state, mu *sync.Mutex) *stream {
	s := &stream{dev: d, key: k, state: st, mu: mu, timer: -1}
	s.turn.of = s
	return s
}

// waiting is the number of bytes for the guest.
func (s *stream) waiting() int {
	if s.peer != nil {
		return s.peer.buf.len()
	}
	return len(s.out)
}

// op is the next packet to send, 0 if there is none. The order matters: a
// Linux guest takes anything before RESPONSE for a protocol error, and a
// SHUTDOWN overtaking data for the end of it.
func (s *stream) op() Op {
	switch {
	case s.state == stateDead:
		return 0
	case s.pending&pendRequest != 0:
		return OpRequest
	case s.state == stateRequested || s.state == stateAnswering:
		return 0
	case s.pending&pendResponse != 0:
		return OpResponse
	}
	if n := s.waiting(); n > 0 && s.shutSent&ShutdownSend == 0 {
		if s.send.allowance(n) > 0 {
			return OpRW
		}
		s.block()
	}
	switch {
	case s.shutdown() != 0:
		return OpShutdown
	case s.pending&pendCreditRequest != 0:
		return OpCreditRequest
	case s.pending&pendCreditUpdate != 0:
		return OpCreditUpdate
	}
	return 0
}

// shutdown is the set of flags due: the end of our data comes after the data.
func (s *stream) shutdown() uint32 {
	flags := s.shutWant &^ s.shutSent
	if s.waiting() > 0 {
		flags &^= ShutdownSend
	}
	return flags
}

// How long a blocked stream waits before it asks for credit. A Linux guest
// speaks up by itself when less than 64 KiB of its buffer are known to be free,
// and a kernel before 6.7 not before that: when our accounting, stricter than
// the guest's, is what blocks, nobody would ever move.
const (
	pollBytesLeft = 5 * time.Millisecond
	pollFull      = 100 * time.Millisecond
	pollMax       = time.Second
)

// block notes that data has to wait for credit.
func (s *stream) block() {
	if s.poll != 0 {
		return
	}
	s.poll = pollFull
	if s.send.bytesLeft() {
		s.poll = pollBytesLeft
	}
	s.dev.arm(s, s.poll)
}

// timeout acts on the stream's timer.
func (s *stream) timeout() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dev.armed(s) {
		return // set anew since it expired
	}
	switch s.state {
	case stateRequested:
		s.kill(unix.ETIMEDOUT, true)
	case stateOpen, stateClosing:
		n := s.waiting()
		switch {
		case n == 0 && s.state == stateClosing:
			s.kill(nil, true)
		case n == 0 || s.send.allowance(n) > 0:
			s.poll = 0
		default:
			s.pending |= pendCreditRequest
			s.dev.enqueue(s)
			s.poll = min(2*s.poll, pollMax)
			s.dev.arm(s, s.poll)
		}
	}
}

// took notes that n received bytes left the buffer, or were discarded.
func (s *stream) took(n int) {
	if s.twin != nil {
		s.twin.pass()
		return
	}
	s.recv.fwd += uint32(n)
	if s.recv.due() && (s.state == stateOpen || s.state == stateClosing) {
		s.pending |= pendCreditUpdate
		s.dev.enqueue(s)
	}
}

// shut asks for flags to be sent to the guest. With both, the connection is
// closing: the guest answers with RST, or time ends it.
func (s *stream) shut(flags uint32) {
	if s.state == stateDead || s.shutWant&flags == flags {
		return
	}
	s.shutWant |= flags
	if s.twin != nil {
		s.twin.goodbye(flags)
		return
	}
	s.dev.enqueue(s)
}

// close begins the orderly end on our side.
func (s *stream) close() {
	if s.state != stateOpen {
		return
	}
	s.state = stateClosing
	s.shut(shutdownBoth)
	s.lastCall()
}

// lastCall starts the time that a closing connection has, once the guest got
// all data.
func (s *stream) lastCall() {
	if s.state == stateClosing && s.waiting() == 0 {
		s.dev.arm(s, s.dev.sw.cfg.CloseTimeout)
	}
}

// kill ends the connection here and now; rst says whether the guest is told.
// What was received stays in the buffer for whoever is behind it.
func (s *stream) kill(err error, rst bool) {
	if s.state == stateDead {
		return
	}
	orderly := s.shutPeer == shutdownBoth
	was := s.state
	s.state, s.err, s.pending, s.out = stateDead, err, 0, nil
	s.egress.stop()
	s.dev.remove(s, rst)
	s.queued = false
	if s.user != nil {
		s.user.wakeAll()
	}
	if p := s.peer; p != nil {
		if orderly && was != stateAnswering && p.state == stateOpen {
			p.close() // after the data
		} else if p.state != stateClosing {
			p.kill(unix.ECONNRESET, p.pending&pendRequest == 0)
		}
		p.dev.wake()
		p.release()
	}
	if t := s.twin; t != nil {
		s.loops.remove(s)
		if err != nil {
			err = unix.ECONNRESET
		}
		t.kill(err, false)
	}
	s.release()
}

// release gives the slot and the window back when both sides are done.
func (s *stream) release() {
	switch {
	case s.released || s.state != stateDead:
		return
	case s.user != nil && !s.user.closed:
		return
	case s.peer != nil && s.peer.state != stateDead:
		return
	}
	s.released = true
	s.buf = ring{}
	s.dev.forget(s)
}
