package control

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// A request is one line of the Host. Of the pointers one is set.
type request struct {
	Version int    `json:"v"`
	ID      uint64 `json:"id"`

	Ping    *struct{}       `json:"ping,omitempty"`
	Resume  *Resume         `json:"resume,omitempty"`
	Quiesce *struct{}       `json:"quiesce,omitempty"`
	Devices *DevicesRequest `json:"devices,omitempty"`
}

// count is the number of things the request asks for.
func (r *request) count() int {
	n := 0
	for _, is := range []bool{r.Ping != nil, r.Resume != nil, r.Quiesce != nil, r.Devices != nil} {
		if is {
			n++
		}
	}
	return n
}

// An answer is one line of the guest. Of the pointers one is set.
type answer struct {
	Version int    `json:"v"`
	Re      uint64 `json:"re"`

	Pong     *struct{} `json:"pong,omitempty"`
	Ready    *Ready    `json:"ready,omitempty"`
	Quiesced *struct{} `json:"quiesced,omitempty"`
	Devices  *[]Device `json:"devices,omitempty"`
	Error    *Error    `json:"error,omitempty"`
}

// encode makes a line of v, with a line feed before it as well: what was written
// before may have been cut off.
func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(b)+1 > MaxLine {
		return nil, fmt.Errorf("line of %d bytes, allowed are %d", len(b)+1, MaxLine)
	}
	return append(append([]byte{'\n'}, b...), '\n'), nil
}

// maxIdle is how many reads in a row may give neither bytes nor an error.
const maxIdle = 100

// A lineReader splits a stream into lines. It keeps an unfinished line when a
// read fails, so that reading may go on after a deadline passed.
type lineReader struct {
	r    io.Reader
	buf  []byte // capacity MaxLine; what was read and not returned is in [next, len)
	next int
	idle int  // reads that gave nothing
	skip bool // up to the next line feed: the line is too long
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{r: r, buf: make([]byte, 0, MaxLine)} }

// line returns the next line that is not empty and not too long, without its line
// feed. It is valid until the next call.
func (l *lineReader) line() ([]byte, error) {
	for {
		if i := bytes.IndexByte(l.buf[l.next:], '\n'); i >= 0 {
			line := l.buf[l.next : l.next+i]
			l.next += i + 1
			skip := l.skip
			l.skip = false
			if !skip && len(line) > 0 {
				return line, nil
			}
			continue
		}
		n := copy(l.buf[:cap(l.buf)], l.buf[l.next:])
		l.buf, l.next = l.buf[:n], 0
		if n == cap(l.buf) {
			l.buf, l.skip = l.buf[:0], true
		}
		n, err := l.r.Read(l.buf[len(l.buf):cap(l.buf)])
		l.buf = l.buf[:len(l.buf)+n]
		switch {
		case n > 0:
			l.idle = 0
		case err != nil:
			return nil, err
		default:
			if l.idle++; l.idle > maxIdle {
				return nil, io.ErrNoProgress
			}
		}
	}
}
