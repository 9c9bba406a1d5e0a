package vsock

import (
	"sync"
	"sync/atomic"

	"github.com/nitrolab/nitrolab/devices/virtio"
)

// fillBatch is how many receive buffers one call of fill fills at most, so that
// a Go writer never works for others for long: 1 MB with Linux's buffers.
const fillBatch = 256

// rxSide is the half of a device that sends to the guest.
type rxSide struct {
	up atomic.Bool // q is there; for those who cannot wait for mu

	mu     sync.Mutex // protects what follows
	q      *virtio.Queue
	err    error // the driver broke q, which is nil then
	chain  virtio.Chain
	header [HeaderSize]byte
}

func (d *Device) startRx(q *virtio.Queue) {
	d.rx.mu.Lock()
	defer d.rx.mu.Unlock()
	if !d.closed.Load() {
		d.rx.q, d.rx.err = q, nil
		d.rx.up.Store(true)
	}
}

// stopRx reports whether the driver broke the queue.
func (d *Device) stopRx() (broken bool) {
	d.rx.mu.Lock()
	defer d.rx.mu.Unlock()
	broken = d.rx.err != nil
	d.rx.up.Store(false)
	d.rx.q, d.rx.err, d.rx.chain = nil, nil, virtio.Chain{}
	return broken
}

// fill puts packets that wait into receive buffers that are there, until one of
// them runs out. The error is that the driver broke the queue.
func (d *Device) fill() error {
	if d == nil {
		return nil
	}
	d.rx.mu.Lock()
	defer d.rx.mu.Unlock()
	return d.fillLocked()
}

// fillLocked is fill with rx.mu held.
func (d *Device) fillLocked() error {
	r := &d.rx
	if r.q == nil {
		return r.err
	}
	for n := 0; ; n++ {
		if n == fillBatch {
			d.wake() // goes on where we stop
			break
		}
		ok, err := d.fillOne()
		if err != nil {
			r.up.Store(false)
			r.q, r.err = nil, err
			d.wake() // resets the connections
			return err
		}
		if !ok {
			break
		}
	}
	return r.q.Notify()
}

// help fills receive buffers on behalf of another guest's goroutine, which must
// not wait for anybody: if somebody is at it already, the pump looks again
// afterwards. d may be nil.
func (d *Device) help() {
	if d == nil {
		return
	}
	if !d.rx.mu.TryLock() {
		d.wake()
		return
	}
	defer d.rx.mu.Unlock()
	_ = d.fillLocked() // of a queue that is not the caller's
}

// fillOne fills one receive buffer. It reports false if there is no buffer or
// nothing to send.
func (d *Device) fillOne() (bool, error) {
	r := &d.rx
	for {
		d.mu.Lock()
		next := d.turns.head
		if next == nil {
			d.mu.Unlock()
			return false, nil
		}
		a := next.of
		rst := a.resets.n > 0
		var s *stream
		if !rst {
			s = a.ready.head.of
		}
		d.mu.Unlock()
		if rst {
			return d.fillReset(a)
		}
		s.mu.Lock()
		op := s.op()
		if op != 0 && s.user != nil {
			if fs := d.sw.faults.Load(); fs != nil || s.egress != nil {
				op = d.outgoing(s, op, fs)
			}
		}
		if op == 0 {
			d.dequeue(s, false)
			s.mu.Unlock()
			continue
		}
		ok, err := r.q.Pop(&r.chain)
		if !ok {
			s.mu.Unlock()
			return false, err
		}
		written := d.compose(s, op)
		d.dequeue(s, s.op() != 0)
		s.mu.Unlock()
		return true, d.push(written)
	}
}

// fillReset sends the oldest pending reset of a. Only fill takes resets out,
// under rx.mu, so it is still there when a buffer is.
func (d *Device) fillReset(a *account) (bool, error) {
	r := &d.rx
	ok, err := r.q.Pop(&r.chain)
	if !ok {
		return false, err
	}
	if r.chain.InLen() < HeaderSize {
		return true, d.push(0)
	}
	d.mu.Lock()
	h := a.resets.front().header(d.cid)
	a.resets.pop()
	d.rotate(a)
	d.mu.Unlock()
	d.writeHeader(&h)
	return true, d.push(HeaderSize)
}

// push returns the current receive buffer; 0 bytes mean that it was too small.
func (d *Device) push(written uint32) error {
	if written == 0 {
		d.note(&d.stats.badBuffer, "bytes", d.rx.chain.InLen())
	}
	return d.rx.q.Push(d.rx.chain.Head, written)
}

func (d *Device) writeHeader(h *Header) {
	h.Encode(&d.rx.header)
	scatter(d.rx.chain.In, 0, d.rx.header[:])
}

// compose writes the next packet of s, op, into the current receive buffer and
// returns its length, 0 if it does not fit. A payload that does not fit is
// fragmented: the stream has no packet boundaries to keep. s.mu is held.
func (d *Device) compose(s *stream, op Op) uint32 {
	room := d.rx.chain.InLen() - HeaderSize
	if room < 0 || room == 0 && op == OpRW {
		return 0
	}
	n := 0
	if op == OpRW {
		n = min(s.send.allowance(s.waiting()), room, MaxPayload)
		if s.egress != nil {
			n = min(n, s.egress.left)
		}
	}
	h := s.header(op, n)
	d.writeHeader(&h)
	if n > 0 {
		s.emit(d.rx.chain.In, n)
		d.stats.bytesOut.Add(uint64(n))
	}
	if e := s.egress; e != nil {
		applyAt(e.verdict.flips, e.off, d.rx.chain.In, HeaderSize, n)
		e.sent(n)
	}
	return HeaderSize + h.Len
}

// header is that of the next packet of s, op with n bytes of payload, which from
// now on counts as sent.
func (s *stream) header(op Op, n int) Header {
	h := Header{
		SrcCID:   uint64(s.key.localCID),
		DstCID:   uint64(s.dev.cid),
		SrcPort:  s.key.localPort,
		DstPort:  s.key.guestPort,
		Len:      uint32(n),
		Type:     TypeStream,
		Op:       op,
		BufAlloc: s.recv.alloc,
		FwdCnt:   s.recv.fwd,
	}
	switch op {
	case OpRequest:
		s.pending &^= pendRequest
	case OpResponse:
		s.pending &^= pendResponse
	case OpCreditRequest:
		s.pending &^= pendCreditRequest
	case OpShutdown:
		s.shutSent |= s.shutdown()
		h.Flags = s.shutSent
	}
	// Every packet is a credit update.
	s.recv.told = s.recv.fwd
	s.pending &^= pendCreditUpdate
	return h
}

// emit moves the next n waiting bytes into a receive buffer, behind the header,
// or nowhere if there is none.
func (s *stream) emit(in [][]byte, n int) {
	s.send.consume(n)
	s.poll = 0
	if p := s.peer; p != nil {
		a, b := p.buf.peek()
		a = a[:min(len(a), n)]
		scatter(in, HeaderSize, a)
		scatter(in, HeaderSize+len(a), b[:n-len(a)])
		p.buf.drop(n)
		p.took(n)
		if p.pending&pendCreditUpdate != 0 {
			p.dev.wake()
		}
		s.lastCall()
		return
	}
	scatter(in, HeaderSize, s.out[:n])
	s.done += n
	if s.out = s.out[n:]; len(s.out) == 0 {
		s.out = nil
		s.user.writable.Broadcast()
	}
}
