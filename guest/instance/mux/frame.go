package mux

import (
	"bytes"
	"encoding/binary"
	"io"
)

type kind byte

const (
	kindHello kind = iota + 1
	kindOpen
	kindOpened
	kindData
	kindCredit
	kindClose
)

const (
	headSize = 5
	maxFrame = headSize + maxPayload
	// maxEncoded is maxFrame with one byte more for each 254 begun.
	maxEncoded = maxFrame + maxFrame/254 + 1
)

// appendFrame appends an encoded frame with its delimiters. The zero before it ends
// what was cut off.
func appendFrame(b []byte, k kind, stream uint32, payload []byte) []byte {
	var head [headSize]byte
	head[0] = byte(k)
	binary.LittleEndian.PutUint32(head[1:], stream)
	b = append(b, 0)
	code := len(b) // where the length of the block being written goes
	b = append(b, 0)
	for _, part := range [2][]byte{head[:], payload} {
		for len(part) > 0 {
			// A block ends at a zero, which it stands for, or with 254 bytes.
			block := part[:min(len(part), 255-(len(b)-code))]
			zero := bytes.IndexByte(block, 0)
			if zero >= 0 {
				block = block[:zero]
			}
			b = append(b, block...)
			part = part[len(block):]
			n := len(b) - code
			if zero >= 0 {
				part = part[1:]
			} else if n < 255 {
				break
			}
			b[code] = byte(n)
			code = len(b)
			b = append(b, 0)
		}
	}
	b[code] = byte(len(b) - code)
	return append(b, 0)
}

// decode undoes the encoding in place. It reports whether b, without delimiters,
// is an encoding at all.
func decode(b []byte) ([]byte, bool) {
	out := b[:0] // always behind what is read
	for len(b) > 0 {
		n := int(b[0])
		if n == 0 || n > len(b) {
			return nil, false
		}
		out = append(out, b[1:n]...)
		b = b[n:]
		if n < 255 && len(b) > 0 {
			out = append(out, 0)
		}
	}
	return out, true
}

// maxIdle is how many reads in a row may give neither bytes nor an error.
const maxIdle = 100

// A frameReader finds frames in a stream.
type frameReader struct {
	r    io.Reader
	buf  []byte // what was read and not returned is in [next, len)
	next int
	idle int  // reads that gave nothing
	skip bool // up to the next zero: the frame is too long
}

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{r: r, buf: make([]byte, 0, maxEncoded+1)}
}

// frame returns the next frame. The payload is valid until the next call. It is an
// error only if reading is.
func (f *frameReader) frame() (k kind, stream uint32, payload []byte, err error) {
	for {
		if i := bytes.IndexByte(f.buf[f.next:], 0); i >= 0 {
			raw := f.buf[f.next : f.next+i]
			f.next += i + 1
			skip := f.skip
			f.skip = false
			if b, ok := decode(raw); ok && !skip && len(b) >= headSize && len(b) <= maxFrame {
				return kind(b[0]), binary.LittleEndian.Uint32(b[1:]), b[headSize:], nil
			}
			continue
		}
		n := copy(f.buf[:cap(f.buf)], f.buf[f.next:])
		f.buf, f.next = f.buf[:n], 0
		if n == cap(f.buf) {
			f.buf, f.skip = f.buf[:0], true
		}
		n, err := f.r.Read(f.buf[len(f.buf):cap(f.buf)])
		f.buf = f.buf[:len(f.buf)+n]
		switch {
		case n > 0:
			f.idle = 0
		case err != nil:
			return 0, 0, nil, err
		default:
			if f.idle++; f.idle > maxIdle {
				return 0, 0, nil, io.ErrNoProgress
			}
		}
	}
}
