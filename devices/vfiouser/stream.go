package vfiouser

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/nitrolab/nitrolab/devices/internal/scm"
)

// bufferSize is how much is read at once: more than a socket holds of posted writes
// (212,992 bytes as the kernel counts, 277 writes of 36 bytes and 768 bytes of
// bookkeeping each).
const bufferSize = 64 << 10

// A stream cuts what arrives on a socket into messages. One read may bring many.
type stream struct {
	sock *socket
	buf  []byte
	r, w int // buf[r:w] was received and not yet returned

	// Descriptors that no message got yet. Those of one read belong to the message
	// that holds the last byte read, so that there are at most those of two: of
	// the message at r, which is incomplete before a read, and of that which ends
	// at w or beyond.
	first, last arrived

	began time.Time // when the message at r was seen to be incomplete; zero if it was not
}

// arrived are descriptors with the error of getting them.
type arrived struct {
	fds scm.List
	err error
}

// moveTo adds a to b.
func (a *arrived) moveTo(b *arrived) {
	b.fds = append(b.fds, a.fds...)
	a.fds = a.fds[:0]
	if b.err == nil {
		b.err = a.err
	}
	a.err = nil
	if len(b.fds) > maxFDs {
		excess := b.fds[maxFDs:]
		excess.Close()
		b.fds = b.fds[:maxFDs]
		b.err = scm.ErrTooMany
	}
}

func newStream(sock *socket) *stream {
	return &stream{sock: sock, buf: make([]byte, bufferSize)}
}

// next returns the next message in m. Its descriptors become the caller's to close.
// The error is errGone at the end of the stream between two messages, and a
// *ProtocolError where there is no telling where the next message begins.
func (s *stream) next(m *message) error {
	for {
		if s.w-s.r >= headerSize {
			size := m.parse(s.buf[s.r:])
			switch {
			case size < headerSize:
				return &ProtocolError{m.command.String(), fmt.Errorf("%w: size %d", ErrHeader, size)}
			case m.flags&flagType > flagReply, !m.isReply() && m.flags&flagError != 0:
				return &ProtocolError{m.command.String(), fmt.Errorf("%w: flags %#x", ErrHeader, m.flags)}
			case size > maxMessage:
				return &ProtocolError{m.command.String(), fmt.Errorf("%w: %d bytes", ErrSize, size)}
			case s.w-s.r >= int(size):
				m.payload = s.buf[s.r+headerSize : s.r+int(size)]
				s.r += int(size)
				s.take(m)
				return nil
			}
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// take gives m, the message that ends at r, its descriptors.
func (s *stream) take(m *message) {
	s.began = time.Time{}
	if s.r == s.w && (len(s.last.fds) > 0 || s.last.err != nil) {
		s.last.moveTo(&s.first)
	}
	m.fdErr = nil
	if len(s.first.fds) > 0 || s.first.err != nil {
		m.fds = append(m.fds[:0], s.first.fds...)
		m.fdErr = s.first.err
		s.first.fds, s.first.err = s.first.fds[:0], nil
	}
}

// fill reads more of the message at r, which is incomplete.
func (s *stream) fill() error {
	if s.last.moveTo(&s.first); s.r > 0 {
		s.w = copy(s.buf, s.buf[s.r:s.w])
		s.r = 0
	}
	if s.w >= headerSize {
		if size := int(binary.LittleEndian.Uint32(s.buf[4:])); size > len(s.buf) {
			// next made sure that it is at most maxMessage.
			s.buf = append(make([]byte, 0, size), s.buf[:s.w]...)[:size]
		}
	}
	if s.w > 0 && s.began.IsZero() {
		s.began = time.Now()
	}
	n, fdErr, err := s.sock.receive(s.buf[s.w:], &s.last.fds)
	switch {
	case err == errQuiet && s.w == 0:
		return nil
	case err == errQuiet:
		if time.Since(s.began) < messageTimeout {
			return nil
		}
		return s.truncated("peer fell silent")
	case err != nil:
		return err
	case n == 0 && s.w == 0:
		return errGone
	case n == 0:
		return s.truncated("peer closed the connection")
	}
	s.last.err = fdErr
	s.w += n
	return nil
}

// truncated is the error for a message that ends too early.
func (s *stream) truncated(why string) error {
	var m message
	name := ""
	if s.w-s.r >= headerSize {
		m.parse(s.buf[s.r:])
		name = m.command.String()
	}
	return &ProtocolError{name, fmt.Errorf("%w: %s", ErrTruncated, why)}
}

// close closes what nobody took.
func (s *stream) close() {
	s.first.fds.Close()
	s.last.fds.Close()
}
