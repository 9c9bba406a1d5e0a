package files

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"unicode"
)

const (
	opPut = "put"
	opGet = "get"
)

// A request is the first frame.
type request struct {
	Op   string `json:"op"`
	Path string `json:"path"`
	Mode uint32 `json:"mode,omitempty"` // Linux's permission bits
}

// A result says how a step ended; the zero value is well.
type result struct {
	Op    string `json:"op,omitempty"`    // system call that failed
	Errno uint32 `json:"errno,omitempty"` // of Linux
	Text  string `json:"text,omitempty"`
	Mode  uint32 `json:"mode,omitempty"`
}

// An Error is what failed in the guest. It unwraps to the guest's errno, so that
// errors.Is(err, fs.ErrNotExist) works.
type Error struct {
	Op    string        // what failed there, such as "open"
	Errno syscall.Errno // 0 if it was no system call
	Text  string        // the guest's words, printable and at most 1 KiB
}

// Error is such as "open: no such file or directory".
func (e *Error) Error() string { return e.Op + ": " + e.Text }

// Unwrap implements the interface of package errors.
func (e *Error) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// resultOf describes an error of the guest.
func resultOf(err error) result {
	if err == nil {
		return result{}
	}
	r := result{Op: "copy", Text: err.Error()}
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		r.Op, r.Text = path.Op, path.Err.Error()
	}
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		r.Errno = uint32(errno)
	}
	return r
}

// maxErrno is the largest that Linux has.
const maxErrno = 4095

// err is the error that a result describes.
func (r result) err() error {
	if r.Op == "" && r.Text == "" && r.Errno == 0 {
		return nil
	}
	e := &Error{Op: clip(r.Op), Text: clip(r.Text)}
	if r.Errno <= maxErrno {
		e.Errno = syscall.Errno(r.Errno)
	}
	return e
}

// clip makes the guest's text short and printable.
func clip(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s[:min(len(s), maxText)])
}

// permissions are the bits of Linux for m.
func permissions(m fs.FileMode) uint32 {
	p := uint32(m.Perm())
	for _, b := range modeBits {
		if m&b.mode != 0 {
			p |= b.bit
		}
	}
	return p
}

// fileMode undoes permissions.
func fileMode(p uint32) fs.FileMode {
	m := fs.FileMode(p & 0o777)
	for _, b := range modeBits {
		if p&b.bit != 0 {
			m |= b.mode
		}
	}
	return m
}

var modeBits = []struct {
	mode fs.FileMode
	bit  uint32
}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}}

const headSize = 4

// A framer reads and writes frames, with buffers that it reuses.
type framer struct {
	rw  io.ReadWriter
	in  [headSize + maxFrame]byte
	out [headSize + maxFrame]byte
}

// ErrEnded says that the connection ended before the copy did.
var ErrEnded = errors.New("connection ended")

// read returns the next frame, valid until the next call.
func (f *framer) read() ([]byte, error) {
	if err := readFull(f.rw, f.in[:headSize]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(f.in[:])
	if n > maxFrame {
		return nil, fmt.Errorf("frame of %d bytes, allowed are %d", n, maxFrame)
	}
	b := f.in[headSize : headSize+n]
	return b, readFull(f.rw, b)
}

func readFull(r io.Reader, b []byte) error {
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("%w: %w", ErrEnded, err)
	}
	return nil
}

func (f *framer) readJSON(v any) error {
	b, err := f.read()
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// write writes the n bytes of f.out behind its head as a frame.
func (f *framer) write(n int) error {
	binary.BigEndian.PutUint32(f.out[:], uint32(n))
	if _, err := f.rw.Write(f.out[:headSize+n]); err != nil {
		return fmt.Errorf("%w: %w", ErrEnded, err)
	}
	return nil
}

func (f *framer) writeJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > maxFrame {
		return fmt.Errorf("frame of %d bytes, allowed are %d", len(b), maxFrame)
	}
	return f.write(copy(f.out[headSize:], b))
}

// A sourceError is that of what is read, as opposed to that of the connection.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

// send writes r to its end as data.
func (f *framer) send(r io.Reader) error {
	for {
		n, err := r.Read(f.out[headSize:])
		if n > 0 {
			if err := f.write(n); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return f.write(0)
		}
		if err != nil {
			return sourceError{err}
		}
	}
}

// receive writes data to w to its end.
func (f *framer) receive(w io.Writer) error {
	for {
		b, err := f.read()
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return nil
		}
		if _, err := w.Write(b); err != nil {
			return sourceError{err}
		}
	}
}
