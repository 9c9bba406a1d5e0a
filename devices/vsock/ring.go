package vsock

// minRing is the first allocation of a ring. Most connections carry one short
// request.
const minRing = 4 << 10

// A ring is a FIFO of bytes that grows by doubling, up to a bound that its user
// enforces by credit, and never shrinks. The zero value is empty and holds no
// memory.
type ring struct {
	buf  []byte // length is a power of two, or zero
	head int    // index of the oldest byte
	n    int    // bytes held
}

func (r *ring) len() int { return r.n }

// reserve makes room for n more bytes.
func (r *ring) reserve(n int) {
	need := r.n + n
	if need <= len(r.buf) {
		return
	}
	size := max(len(r.buf), minRing)
	for size < need {
		size *= 2
	}
	buf := make([]byte, size)
	a, b := r.peek()
	copy(buf[copy(buf, a):], b)
	r.buf, r.head = buf, 0
}

// gather appends the n bytes that begin at offset skip of the concatenated
// segments. It returns how many it found, n unless the segments are short.
func (r *ring) gather(segments [][]byte, skip, n int) int {
	r.reserve(n)
	done := 0
	for _, s := range segments {
		if skip >= len(s) {
			skip -= len(s)
			continue
		}
		s = s[skip:]
		skip = 0
		s = s[:min(len(s), n-done)]
		r.put(s)
		if done += len(s); done == n {
			break
		}
	}
	return done
}

// put appends s, for which there is room.
func (r *ring) put(s []byte) {
	tail := (r.head + r.n) & (len(r.buf) - 1)
	m := copy(r.buf[tail:], s)
	copy(r.buf, s[m:])
	r.n += len(s)
}

// peek is the content, oldest byte first, in at most two pieces.
func (r *ring) peek() (a, b []byte) {
	end := r.head + r.n
	if end <= len(r.buf) {
		return r.buf[r.head:end], nil
	}
	return r.buf[r.head:], r.buf[:end-len(r.buf)]
}

// drop removes the n oldest bytes.
func (r *ring) drop(n int) {
	r.n -= n
	if r.n == 0 {
		r.head = 0 // keeps short messages in one piece and in cache
		return
	}
	r.head = (r.head + n) & (len(r.buf) - 1)
}

// read moves bytes out and returns how many.
func (r *ring) read(p []byte) int {
	a, b := r.peek()
	n := copy(p, a)
	n += copy(p[n:], b)
	r.drop(n)
	return n
}

// gathered is a copy of the n bytes at offset skip of the concatenated segments,
// which must be long enough.
func gathered(segments [][]byte, skip, n int) []byte {
	b := make([]byte, 0, n)
	for _, s := range segments {
		if skip >= len(s) {
			skip -= len(s)
			continue
		}
		s = s[skip:]
		skip = 0
		b = append(b, s[:min(len(s), n-len(b))]...)
		if len(b) == n {
			break
		}
	}
	return b
}

// length is the number of bytes in the segments.
func length(segments [][]byte) int {
	n := 0
	for _, s := range segments {
		n += len(s)
	}
	return n
}

// scatter writes src at offset off of the concatenated segments, which must be
// long enough.
func scatter(segments [][]byte, off int, src []byte) {
	for _, s := range segments {
		if len(src) == 0 {
			return
		}
		if off >= len(s) {
			off -= len(s)
			continue
		}
		src = src[copy(s[off:], src):]
		off = 0
	}
}
