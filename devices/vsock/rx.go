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

func (d *Device) stopRx() {
	d.rx.mu.Lock()
	defer d.rx.mu.Unlock()
	d.rx.up.Store(false)
	d.rx.q, d.rx.err, d.rx.chain = nil, nil, virtio.Chain{}
}

// fill puts packets that wait into receive buffers that are there, until one of
// them runs out. The error is that the driver broke the queue.
func (d *Device) fill() error {
	r := &d.rx
	r.mu.Lock()
	defer r.mu.Unlock()
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

// fillOne fills one receive buffer. It reports false if there is no buffer or
// nothing to send.
func (d *Device) fillOne() (bool, error) {
	r := &d.rx
	for {
		d.mu.Lock()
		s, rst := d.ready.head, d.resets.n > 0
		d.mu.Unlock()
		if rst {
			return d.fillReset()
		}
		if s == nil {
			return false, nil
		}
		s.mu.Lock()
		op := s.op()
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

// fillReset sends the oldest pending reset. Only fill takes resets out, under
// rx.mu, so it is still there when a buffer is.
func (d *Device) fillReset() (bool, error) {
	r := &d.rx
	ok, err := r.q.Pop(&r.chain)
	if !ok {
		return false, err
	}
	if r.chain.InLen() < HeaderSize {
		return true, d.push(0)
	}
	d.mu.Lock()
	h := d.resets.front().header(d.cid)
	d.resets.pop()
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
	h := Header{
		SrcCID:   uint64(s.key.localCID),
		DstCID:   uint64(d.cid),
		SrcPort:  s.key.localPort,
		DstPort:  s.key.guestPort,
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
	case OpRW:
		n := min(s.send.allowance(s.waiting()), room, MaxPayload)
		h.Len = uint32(n)
		s.emit(d.rx.chain.In, n)
		d.stats.bytesOut.Add(uint64(n))
	}
	// Every packet is a credit update.
	s.recv.told = s.recv.fwd
	s.pending &^= pendCreditUpdate
	d.writeHeader(&h)
	return HeaderSize + h.Len
}

// emit moves the next n waiting bytes into a receive buffer, behind the header.
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
