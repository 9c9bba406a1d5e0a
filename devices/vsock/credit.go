package vsock

// Credit, virtio 1.2 section 5.10.6.3. Both counters of a direction run modulo
// 2^32, so only differences of them mean anything.

// A receiveCredit is what we granted to the guest on one connection.
type receiveCredit struct {
	alloc    uint32 // our buffer; constant
	received uint32 // payload bytes that arrived
	fwd      uint32 // of those, bytes that left the buffer (fwd_cnt)
	told     uint32 // fwd as the guest last heard it
}

// accept notes n arriving bytes. It reports false, and notes nothing, if they
// exceed what the guest was allowed to have under way.
func (r *receiveCredit) accept(n uint32) bool {
	if n > r.alloc-(r.received-r.fwd) {
		return false
	}
	r.received += n
	return true
}

// due reports that the guest should hear of the space that became free. At a
// quarter of the buffer an idle guest always has three quarters of it, and a
// busy one costs us one short packet for every 64 KiB.
func (r *receiveCredit) due() bool { return r.fwd-r.told >= max(r.alloc/4, 1) }

// packetOverhead is what we charge for a packet besides its payload.
//
// The credit of the specification counts payload only, but a Linux guest since
// 6.12.92 (upstream 059b7dbd20a6, May 2026) also counts SKB_TRUESIZE(0), 576
// bytes on x86-64, for each packet in its queue. The first such kernels drop
// data when the sum exceeds buf_alloc; from 6.12.94 on (c6087c5aaad6,
// a4f0b001782b) they reset the connection when the count alone does, after 455
// unread short packets. Later ones merge short packets first, Debian's 6.12.117
// among them. A sender cannot tell which it has in front of it. Charging a
// little more than any of them does is safe with all, and costs at most a sixth
// of the window with full-sized receive buffers.
const packetOverhead = 640

// maxInFlight bounds the record of packets that the guest has not consumed.
const maxInFlight = 1024

// minSend keeps us from answering a trickle of credit with a trickle of tiny
// packets, each of which costs the guest a receive buffer.
const minSend = 1024

// A sendCredit is what the guest granted to us on one connection.
type sendCredit struct {
	sent  uint32 // payload bytes sent
	alloc uint32 // the guest's buffer (its buf_alloc)
	fwd   uint32 // bytes the guest's application took (its fwd_cnt)

	// ends has the value of sent after each packet that the guest has not
	// consumed entirely: a ring of n entries from head. Its length is a power
	// of two.
	ends    []uint32
	head, n int
}

// update takes buf_alloc and fwd_cnt of a packet from the guest. A fwd that is
// behind is stale: Linux stamps a packet before it queues it, so two packets
// may overtake each other. One that is ahead of what we sent is a lie. Either
// is ignored.
func (s *sendCredit) update(alloc, fwd uint32) {
	s.alloc = alloc
	if fwd-s.fwd > s.sent-s.fwd {
		return
	}
	s.fwd = fwd
	for s.n > 0 && fwd-s.ends[s.head] < 1<<31 {
		s.head = (s.head + 1) & (len(s.ends) - 1)
		s.n--
	}
}

// allowance is how many of the want bytes waiting may go into the next packet,
// 0 if it has to wait for credit.
func (s *sendCredit) allowance(want int) int {
	inFlight := s.sent - s.fwd
	if inFlight == 0 {
		// Whatever the guest's accounting is, one packet must be possible.
		return min(want, int(s.alloc))
	}
	room := int(s.alloc) - int(inFlight) - (s.n+1)*packetOverhead
	if room < min(want, minSend, int(s.alloc/2)) || s.n >= maxInFlight {
		return 0
	}
	return min(want, max(room, 0))
}

// bytesLeft reports whether the guest's own accounting still has room, so that
// it may not think of telling us when it consumes something.
func (s *sendCredit) bytesLeft() bool { return s.sent-s.fwd < s.alloc }

// consume notes a packet of n bytes, at most the allowance.
func (s *sendCredit) consume(n int) {
	s.sent += uint32(n)
	if s.n == len(s.ends) {
		s.grow()
	}
	s.ends[(s.head+s.n)&(len(s.ends)-1)] = s.sent
	s.n++
}

func (s *sendCredit) grow() {
	ends := make([]uint32, max(2*len(s.ends), 16))
	m := copy(ends, s.ends[s.head:])
	copy(ends[m:], s.ends[:s.head])
	s.ends, s.head = ends, 0
}
