package vsock

// A reset is an RST to the guest that no stream remembers.
type reset struct {
	key
	typ uint16 // socket type of the packet that it answers
}

// header is the packet: it carries the addresses the guest used, so that its
// socket is found.
func (r reset) header(cid uint32) Header {
	return Header{
		SrcCID:  uint64(r.localCID),
		SrcPort: r.localPort,
		DstCID:  uint64(cid),
		DstPort: r.guestPort,
		Type:    r.typ,
		Op:      OpRST,
	}
}

// resets is a bounded FIFO. A guest that takes no packets loses resets, and
// only it does.
type resets struct {
	limit int
	buf   []reset
	head  int
	n     int
}

// push reports false if there was no room.
func (f *resets) push(r reset) bool {
	if f.n == f.limit {
		return false
	}
	if f.n == len(f.buf) {
		buf := make([]reset, min(max(2*len(f.buf), 16), f.limit))
		m := copy(buf, f.buf[f.head:])
		copy(buf[m:], f.buf[:f.head])
		f.buf, f.head = buf, 0
	}
	f.buf[(f.head+f.n)%len(f.buf)] = r
	f.n++
	return true
}

// front is the oldest one; there must be one.
func (f *resets) front() reset { return f.buf[f.head] }

// pop drops the oldest one.
func (f *resets) pop() {
	f.head = (f.head + 1) % len(f.buf)
	f.n--
}
