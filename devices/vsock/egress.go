package vsock

import (
	"time"

	"golang.org/x/sys/unix"
)

// An egress is what faults do to the packets of a Go endpoint on their way to a
// guest. stream.mu protects it. It keeps no packets: what is held stays where it
// is, in the slice that user is writing and in the pending bits of the stream.
type egress struct {
	op   Op // the packet that was judged and is not yet sent entirely, 0 if none
	off  int
	left int // bytes of its payload, sent and not sent

	verdict verdict
	due     time.Time
	timer   *time.Timer // ends the wait for due
}

// waits reports whether the guest may not hear anything now.
func (e *egress) waits(s *stream) bool {
	if st := e.verdict.stall; st != nil && !st.removed.Load() {
		return true
	}
	wait := time.Until(e.due)
	if e.due.IsZero() || wait <= 0 {
		e.due = time.Time{}
		return false
	}
	if e.timer == nil {
		e.timer = time.AfterFunc(wait, func() {
			s.mu.Lock()
			e.timer = nil
			if s.state != stateDead {
				s.dev.enqueue(s)
			}
			s.mu.Unlock()
			s.dev.wake()
		})
	}
	return true
}

// stop is the end of the stream. e may be nil.
func (e *egress) stop() {
	if e != nil && e.timer != nil {
		e.timer.Stop()
	}
}

// restart is the beginning of a Write: what was judged of an earlier one that
// was not sent entirely is of no interest. e may be nil.
func (e *egress) restart() {
	if e != nil && e.op == OpRW {
		e.op = 0
	}
}

// sent notes that the packet went out, or n bytes of its payload did.
func (e *egress) sent(n int) {
	e.off += n
	if e.left -= n; e.left <= 0 {
		e.op = 0
	}
}

// outgoing lets the faults have a look at op, the next packet of s, and returns
// what is left of it: 0 if the guest is not to get anything now. s.mu is held.
func (d *Device) outgoing(s *stream, op Op, fs *faults) Op {
	if s.egress == nil {
		s.egress = &egress{}
	}
	e := s.egress
	for op != 0 {
		if e.waits(s) {
			return 0
		}
		if fs == nil && e.op == 0 {
			s.egress = nil // there is no fault any more
			return op
		}
		if e.op != op {
			s.inspect(op, fs)
			continue
		}
		switch {
		case e.verdict.reset:
			s.kill(unix.ECONNRESET, true)
			return 0
		case !e.verdict.drop:
			return op
		}
		s.lose(op)
		op = s.op()
	}
	return 0
}

// inspect judges the next packet.
func (s *stream) inspect(op Op, fs *faults) {
	e := s.egress
	e.op, e.off, e.left, e.verdict = op, 0, 0, verdict{}
	if op == OpRW {
		e.left = min(len(s.out), MaxPayload)
	}
	if fs == nil {
		return
	}
	e.verdict = fs.judge(sighting{
		from: s.user.local,
		to:   s.user.remote,
		op:   op,
		n:    e.left,
	})
	// One Write takes one delay, or a Conn, which keeps no bytes, would send
	// MaxPayload of them at a time.
	if e.verdict.delay > 0 && (op != OpRW || s.done == 0) {
		e.due = time.Now().Add(e.verdict.delay)
	}
}

// lose does everything about a packet but to send it.
func (s *stream) lose(op Op) {
	n := 0
	if op == OpRW {
		n = min(s.send.allowance(len(s.out)), s.egress.left)
	}
	s.header(op, n)
	if n > 0 {
		s.emit(nil, n)
	}
	s.egress.sent(n)
}
