package vhostuser

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/nitrolab/nitrolab/devices/internal/scm"
)

// messageTimeout bounds how long a message may take from its first byte to its
// last, and a reply to be accepted. QEMU writes a message by one sendmsg, so
// this only ends connections to peers that do not work.
const messageTimeout = 30 * time.Second

// A transport reads requests from and writes replies to the front-end. Its
// buffers are reused.
type transport struct {
	conn *net.UnixConn
	head [headerSize]byte
	body [maxPayload]byte
	oob  []byte
	out  []byte
}

func newTransport(conn *net.UnixConn) *transport {
	return &transport{
		conn: conn,
		oob:  make([]byte, scm.Space(maxFDs)),
		out:  make([]byte, 0, headerSize+maxPayload),
	}
}

// errGone means that the peer closed the connection where it may.
var errGone = errors.New("peer closed the connection")

// receive reads one request into m, whose descriptors are the caller's to
// close also on error. The error is errGone at the end of the stream between
// two messages and a *ProtocolError for a malformed message.
func (t *transport) receive(m *message) error {
	m.request, m.needReply, m.payload = 0, false, nil
	if err := t.conn.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("vhost-user socket: %w", err)
	}
	if err := t.fill(t.head[:], m, true); err != nil {
		return err
	}
	m.request = request(binary.LittleEndian.Uint32(t.head[0:]))
	flags := binary.LittleEndian.Uint32(t.head[4:])
	size := binary.LittleEndian.Uint32(t.head[8:])
	if flags&versionMask != flagVersion || flags&flagReply != 0 {
		return &ProtocolError{m.request.String(), fmt.Errorf("%w: flags %#x", ErrHeader, flags)}
	}
	if size > maxPayload {
		return &ProtocolError{m.request.String(), fmt.Errorf("%w: %d bytes", ErrSize, size)}
	}
	m.needReply = flags&flagNeedReply != 0
	m.payload = t.body[:size]
	return t.fill(m.payload, m, false)
}

// fill reads len(b) bytes, and the descriptors sent with them.
func (t *transport) fill(b []byte, m *message, first bool) error {
	for done := 0; done < len(b); {
		n, oobn, flags, _, err := t.conn.ReadMsgUnix(b[done:], t.oob)
		if fdErr := m.fds.Receive(t.oob[:oobn], flags, maxFDs); fdErr != nil {
			return &ProtocolError{m.name(), fmt.Errorf("%w: %w", ErrDescriptors, fdErr)}
		}
		if err == nil && n == 0 {
			err = io.EOF
		}
		if err != nil {
			return t.readError(err, m, first && done == 0)
		}
		if first && done == 0 {
			if err := t.conn.SetReadDeadline(time.Now().Add(messageTimeout)); err != nil {
				return fmt.Errorf("vhost-user socket: %w", err)
			}
		}
		done += n
	}
	return nil
}

// readError sorts the errors of a read. between is true if no byte of a
// message has been read.
func (t *transport) readError(err error, m *message, between bool) error {
	gone := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
	switch {
	case gone && between:
		return errGone
	case gone, errors.Is(err, os.ErrDeadlineExceeded):
		return &ProtocolError{m.name(), fmt.Errorf("%w: %w", ErrTruncated, err)}
	}
	return fmt.Errorf("vhost-user socket: %w", err)
}

// name is for errors: empty while the header is not complete.
func (m *message) name() string {
	if m.request == 0 {
		return ""
	}
	return m.request.String()
}

// reply answers request r. The error is errGone if nobody reads it.
func (t *transport) reply(r request, payload []byte) error {
	t.out = binary.LittleEndian.AppendUint32(t.out[:0], uint32(r))
	t.out = binary.LittleEndian.AppendUint32(t.out, flagVersion|flagReply)
	t.out = binary.LittleEndian.AppendUint32(t.out, uint32(len(payload)))
	t.out = append(t.out, payload...)
	err := t.conn.SetWriteDeadline(time.Now().Add(messageTimeout))
	if err == nil {
		_, err = t.conn.Write(t.out)
	}
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return errGone
	}
	if err != nil {
		return fmt.Errorf("vhost-user reply to %s: %w", r, err)
	}
	return nil
}
