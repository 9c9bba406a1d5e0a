package vfiousertest

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/internal/scm"
)

// Raw sends bytes as they are, with descriptors that stay the caller's, by one
// sendmsg. It reports whether the server was there to receive them.
func (c *Client) Raw(b []byte, fds ...int) bool {
	c.t.Helper()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	scm.Sending()
	for len(b) > 0 {
		n, err := unix.SendmsgN(c.fd, b, oob, nil, unix.MSG_NOSIGNAL)
		switch err {
		case nil:
			b, oob = b[n:], nil
		case unix.EINTR:
		case unix.EPIPE, unix.ECONNRESET:
			return false
		default:
			c.t.Fatalf("vfiousertest: send: %v", err)
		}
	}
	return true
}

// Send sends one message and does not wait for its reply. It returns the id.
func (c *Client) Send(command uint16, flags uint32, payload []byte, fds ...int) uint16 {
	c.t.Helper()
	c.id++
	c.out = append(append(c.out[:0], Header(c.id, command, len(payload), flags)...), payload...)
	c.Raw(c.out, fds...)
	return c.id
}

// ErrClosed means that the server closed the connection between two messages.
var ErrClosed = errors.New("vfiousertest: server closed the connection")

// A Message is one that was received. It is valid until the next, descriptors included.
type Message struct {
	ID, Command  uint16
	Flags, Errno uint32
	Payload      []byte
	FDs          []int
}

// Receive returns the next message. The error is ErrClosed or that of the socket; a
// message that makes no sense fails the test.
func (c *Client) Receive() (Message, error) {
	c.t.Helper()
	c.fds.Close()
	if err := c.read(c.buf[:headerSize]); err != nil {
		return Message{}, err
	}
	h := c.buf[:headerSize]
	m := Message{
		ID: binary.LittleEndian.Uint16(h), Command: binary.LittleEndian.Uint16(h[2:]),
		Flags: binary.LittleEndian.Uint32(h[8:]), Errno: binary.LittleEndian.Uint32(h[12:]),
	}
	size := binary.LittleEndian.Uint32(h[4:])
	if size < headerSize || size > maxMessage {
		c.t.Fatalf("vfiousertest: message %+v has size %d", m, size)
	}
	m.Payload = c.buf[headerSize:size]
	if err := c.read(m.Payload); err != nil {
		c.t.Fatalf("vfiousertest: message of %d bytes: %v", size, err)
	}
	m.FDs = c.fds
	return m, nil
}

// ReceiveHeader reads only the header of the next message, whose command it returns,
// and leaves the rest where it is: for a client that does not read on.
func (c *Client) ReceiveHeader() (command uint16, err error) {
	c.t.Helper()
	if err := c.read(c.buf[:headerSize]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint16(c.buf[2:]), nil
}

// read fills b.
func (c *Client) read(b []byte) error {
	for done := 0; done < len(b); {
		n, oob, flags, err := c.in.Receive(c.fd, b[done:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return os.NewSyscallError("recvmsg", err)
		case n == 0 && done > 0:
			return io.ErrUnexpectedEOF
		case n == 0:
			return ErrClosed
		}
		if len(oob) > 0 || flags&unix.MSG_CTRUNC != 0 {
			if err := c.fds.Receive(oob, flags, 16); err != nil {
				return err
			}
		}
		done += n
	}
	return nil
}

// Reply waits for the reply to message id, which must be the next, and checks its
// header. Requests of the server that come before it go to Serves.
func (c *Client) Reply(id, command uint16) Message {
	c.t.Helper()
	for {
		m, err := c.Receive()
		if err != nil {
			c.t.Fatalf("vfiousertest: reply to %d, command %d: %v", id, command, err)
		}
		if m.Flags == 0 && c.Serves != nil {
			c.answer(m)
			continue
		}
		isError := m.Flags&FlagError != 0
		switch {
		case m.ID != id || m.Command != command || m.Flags&^FlagError != FlagReply:
			c.t.Fatalf("vfiousertest: unexpected reply %+v, want one to %d, command %d", m, id, command)
		case isError && len(m.Payload) > 0, !isError && m.Errno != 0:
			c.t.Fatalf("vfiousertest: malformed reply %+v", m)
		}
		return m
	}
}

// answer serves one request of the server.
func (c *Client) answer(m Message) {
	c.t.Helper()
	payload, errno := c.Serves(m.Command, m.Payload)
	flags := uint32(FlagReply)
	if errno != 0 {
		flags |= FlagError
	}
	b := Header(m.ID, m.Command, len(payload), flags)
	binary.LittleEndian.PutUint32(b[12:], uint32(errno))
	c.Raw(append(b, payload...))
}

// Answer waits for one request of the server and gives it to Serves.
func (c *Client) Answer() {
	c.t.Helper()
	m, err := c.Receive()
	if err != nil || m.Flags != 0 {
		c.t.Fatalf("vfiousertest: %+v, %v; want a request of the server", m, err)
	}
	c.answer(m)
}

// Call sends a message and returns its reply, valid until the next message.
func (c *Client) Call(command uint16, payload []byte, fds ...int) Message {
	c.t.Helper()
	return c.Reply(c.Send(command, 0, payload, fds...), command)
}

// Do is Call for a message that must succeed; it returns the payload of the reply.
func (c *Client) Do(command uint16, payload []byte, fds ...int) []byte {
	c.t.Helper()
	m := c.Call(command, payload, fds...)
	if m.Flags&FlagError != 0 {
		c.t.Fatalf("vfiousertest: command %d: %v", command, syscall.Errno(m.Errno))
	}
	return m.Payload
}
