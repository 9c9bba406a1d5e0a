package qemu

// A ring keeps the last bytes of an endless stream and knows each byte's
// position in it. It is not safe for concurrent use.
type ring struct {
	buf []byte // len is the capacity
	end int64  // position behind the last byte, which is how many there were
}

func newRing(size int) *ring { return &ring{buf: make([]byte, size)} }

// write appends p.
func (r *ring) write(p []byte) {
	if over := len(p) - len(r.buf); over > 0 {
		r.end += int64(over)
		p = p[over:]
	}
	for len(p) > 0 {
		n := copy(r.buf[r.end%int64(len(r.buf)):], p)
		r.end += int64(n)
		p = p[n:]
	}
}

// start is the position of the oldest byte that is left.
func (r *ring) start() int64 { return max(0, r.end-int64(len(r.buf))) }

// readAt copies from position off into p. If off is not there any more, it
// starts with the oldest byte that is; next is where to go on.
func (r *ring) readAt(p []byte, off int64) (n int, next int64) {
	off = max(off, r.start())
	for n < len(p) && off < r.end {
		i := off % int64(len(r.buf))
		run := min(int64(len(r.buf))-i, r.end-off)
		m := copy(p[n:], r.buf[i:i+run])
		n += m
		off += int64(m)
	}
	return n, off
}

// tail returns the last n bytes, or as many as there are.
func (r *ring) tail(n int) []byte {
	off := max(r.start(), r.end-int64(n))
	p := make([]byte, r.end-off)
	r.readAt(p, off)
	return p
}
