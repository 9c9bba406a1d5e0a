package vsock

import (
	"math"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/virtio"
)

// txBatch is how many packets of the guest are taken between two interrupts.
const txBatch = 64

// txSide is the half of a device that receives from the guest. It belongs to
// the goroutine that the transport uses for the transmit queue.
type txSide struct {
	q      *virtio.Queue
	chain  virtio.Chain
	raw    [HeaderSize]byte
	header Header
	to     *Device // has something to send because of packets since the last settle
}

// size is the number of chains that can be in the queue at a time.
func (t *txSide) size() int {
	if t.q == nil {
		return 0
	}
	return t.q.Size()
}

// drain takes packets out of the transmit queue until there is none, or limit
// were taken. It never waits for anybody. The error is that the driver broke
// the queue.
func (d *Device) drain(limit int) error {
	t := &d.tx
	if t.q == nil {
		return nil
	}
	for n := 1; n <= limit && !d.closed.Load(); n++ {
		ok, err := t.q.Pop(&t.chain)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if to := d.receive(); to != nil && to != t.to {
			t.to.help()
			t.to = to
		}
		if err := t.q.Push(t.chain.Head, 0); err != nil {
			return err
		}
		if n%txBatch == 0 {
			if err := d.settle(); err != nil {
				return err
			}
		}
	}
	return d.settle()
}

// settle sends what other guests get, then the answers, and last returns packets
// to the driver, which is in less of a hurry.
func (d *Device) settle() error {
	d.tx.to.help()
	d.tx.to = nil
	_ = d.fill() // of the other queue: HandleQueue reports it there
	return d.tx.q.Notify()
}

// receive acts on the packet in tx.chain and returns the device of another guest
// that has something to send because of it, nil if there is none. The header is
// copied once and checked in the copy: the guest can write to the original at
// any time.
func (d *Device) receive() *Device {
	t := &d.tx
	h := &t.header
	if t.chain.CopyOut(t.raw[:]) < HeaderSize {
		d.note(&d.stats.malformed, "bytes", t.chain.OutLen())
		return nil
	}
	h.Decode(&t.raw)
	from := d
	if h.SrcCID != uint64(d.cid) {
		// An answer would go to the CID that was claimed.
		d.note(&d.stats.spoofed, "claimed", h.SrcCID)
		if from = d.sw.claimed(h.SrcCID); from == nil {
			return nil
		}
		defer from.wake()
	}
	if h.DstCID > math.MaxUint32 {
		d.note(&d.stats.malformed, "destination", h.DstCID)
		return nil
	}
	k := key{uint32(h.DstCID), h.DstPort, h.SrcPort}
	if fs := d.sw.faults.Load(); fs != nil || from.shelf.n.Load() != 0 {
		return from.disturb(fs, k, h, t.chain.Out)
	}
	return from.deliver(k, h, t.chain.Out)
}

// deliver acts on a packet of d's guest, on any goroutine, and returns what
// receive returns. out is the header and the payload.
func (d *Device) deliver(k key, h *Header, out [][]byte) *Device {
	if h.Type != TypeStream {
		d.refuse(k, h)
		return nil
	}
	s := d.find(k)
	switch {
	case !h.wellFormed(length(out)):
		d.note(&d.stats.malformed, "op", h.Op, "len", h.Len, "bytes", length(out))
		if s != nil {
			s.abort(unix.EPROTO)
		} else if h.Op != OpRST {
			d.reset(reset{k, h.Type})
		}
	case h.Op == OpRequest:
		if s != nil && !s.replace() {
			d.note(&d.stats.malformed, "op", h.Op, "connected", true)
			return nil
		}
		return d.request(k, h)
	case s != nil:
		return s.receive(h, out)
	case h.Op != OpRST:
		d.reset(reset{k, h.Type})
	}
	return nil
}

// abort resets a connection because of what the guest did.
func (s *stream) abort(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kill(err, true)
}

// replace makes way for a request with the addresses of an existing
// connection. That is legitimate when our end is gone already and the guest has
// forgotten about it; otherwise it resets the connection and reports false.
func (s *stream) replace() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	closing := s.state == stateClosing || s.state == stateDead
	s.kill(unix.ECONNRESET, !closing)
	return closing
}

// receive acts on a well-formed packet of the guest for this connection, other
// than REQUEST. out is the header and the payload. It returns what
// Device.receive returns.
func (s *stream) receive(h *Header, out [][]byte) (to *Device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == stateDead {
		// Lost a race with our own reset.
		return nil
	}
	if s.peer != nil {
		to = s.peer.dev
	}
	if s.state == stateRequested && (s.pending&pendRequest != 0 || h.Op != OpResponse && h.Op != OpRST) {
		s.kill(unix.EPROTO, true)
		return to
	}
	s.send.update(h.BufAlloc, h.FwdCnt)
	if s.waiting() > 0 {
		s.dev.enqueue(s) // the credit may have grown
	}
	switch h.Op {
	case OpResponse:
		s.connected()
	case OpRST:
		s.gone()
	case OpRW:
		s.data(int(h.Len), out)
	case OpShutdown:
		s.goodbye(h.Flags & shutdownBoth)
	case OpCreditRequest:
		s.pending |= pendCreditUpdate
		s.dev.enqueue(s)
		return nil
	case OpCreditUpdate:
		return nil
	}
	return to
}

// connected acts on RESPONSE.
func (s *stream) connected() {
	if s.state != stateRequested {
		s.kill(unix.EPROTO, true)
		return
	}
	s.state = stateOpen
	if s.user != nil {
		s.user.connected = true
		s.user.wakeAll()
		return
	}
	p := s.peer
	p.state = stateOpen
	p.pending |= pendResponse
	s.shut(p.shutPeer) // what the caller said meanwhile
	p.dev.enqueue(p)
}

// gone acts on RST.
func (s *stream) gone() {
	err := unix.ECONNRESET
	if s.state == stateRequested {
		err = unix.ECONNREFUSED
	}
	s.kill(err, false)
}

// data acts on RW: n bytes behind the header in out.
func (s *stream) data(n int, out [][]byte) {
	if s.shutPeer&ShutdownSend != 0 {
		s.dev.note(&s.dev.stats.malformed, "op", OpRW, "after", OpShutdown)
		s.kill(unix.EPROTO, true)
		return
	}
	if !s.recv.accept(uint32(n)) {
		s.dev.note(&s.dev.stats.overruns, "len", n)
		s.kill(unix.EPROTO, true)
		return
	}
	s.dev.stats.bytesIn.Add(uint64(n))
	if s.unwanted() {
		s.took(n)
		return
	}
	s.buf.gather(out, HeaderSize, n)
	if s.user != nil {
		s.user.readable.Broadcast()
		return
	}
	s.peer.dev.enqueue(s.peer)
}

// unwanted reports that nobody will take what the guest sends.
func (s *stream) unwanted() bool {
	if s.peer != nil {
		return s.peer.state == stateDead || s.peer.shutPeer&ShutdownReceive != 0
	}
	return s.state == stateClosing || s.user.readShut
}

// goodbye acts on SHUTDOWN.
func (s *stream) goodbye(flags uint32) {
	s.shutPeer |= flags
	if flags&ShutdownReceive != 0 {
		s.out = nil
		if p := s.peer; p != nil {
			n := p.buf.len()
			p.buf.drop(n)
			p.took(n)
		}
	}
	switch {
	case s.shutPeer == shutdownBoth:
		// RST is the answer that the guest waits for (5.10.6.6.1).
		s.kill(nil, true)
	case s.user != nil:
		s.user.wakeAll()
	case s.peer.state == stateOpen:
		s.peer.shut(flags)
	}
}
