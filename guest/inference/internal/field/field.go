// Package field is a run of bytes on a stream with its length before it: four
// bytes, big-endian, at least one and at most what the reader allows.
package field

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrLength means that a length is not allowed.
var ErrLength = errors.New("length not allowed")

// Write sends a field, in one write.
func Write(w io.Writer, content []byte) error {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(content)), uint32(len(content)))
	b = append(b, content...)
	defer clear(b)
	_, err := w.Write(b)
	return err
}

// first is how much memory a length alone can have; more is only had as content
// comes in.
const first = 64 << 10

// Read returns the content of the next field. The error is io.EOF if the stream
// ended before it began.
func Read(r io.Reader, limit int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 1 || int64(n) > int64(limit) {
		return nil, fmt.Errorf("%d bytes, allowed are 1 to %d: %w", n, limit, ErrLength)
	}
	if n <= first {
		b := make([]byte, n)
		_, err := io.ReadFull(r, b)
		return b, noEOF(err)
	}
	var b bytes.Buffer
	b.Grow(first)
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		return nil, noEOF(err)
	}
	return b.Bytes(), nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
