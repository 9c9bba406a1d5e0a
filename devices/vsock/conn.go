package vsock

import (
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Conn is the Go end of a connection with a guest, or one of the ends of a
// connection between two Go endpoints. It implements net.Conn, and the half-close
// and linger methods of net.TCPConn.
//
// Write returns when the bytes are in the guest's receive buffers, or in the
// buffer of the other Go endpoint; the Conn keeps none. It blocks while the guest
// grants no credit or offers no buffer.
//
// A guest that closes its socket, or dies in an orderly way, gives io.EOF after
// the last byte. A connection that the guest resets, or whose guest goes away,
// gives unix.ECONNRESET after the last byte; one on which the guest broke the
// protocol gives unix.EPROTO. Writing to a guest that does not receive any more
// gives unix.EPIPE. Errors other than io.EOF are *net.OpError.
type Conn struct {
	s             *stream // immutable
	local, remote Addr    // immutable

	// writing is held during Write, so that each call's bytes stay together.
	writing sync.Mutex

	// s.mu protects what follows.
	readable, writable sync.Cond
	connected          bool // the guest accepted, if we dialled
	closed             bool
	readShut           bool // CloseRead was called
	abrupt             bool // SetLinger(0) was called
	readDeadline       deadline
	writeDeadline      deadline
}

var _ net.Conn = (*Conn)(nil)

func newConn(s *stream, local, remote Addr) *Conn {
	c := &Conn{s: s, local: local, remote: remote}
	c.readable.L, c.writable.L = s.mu, s.mu
	s.user = c
	return c
}

// LocalAddr is the [Addr] of the Go endpoint: CID 3 also if the guest dialled
// CID 2.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the [Addr] of the guest or of the other Go endpoint.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

func (c *Conn) wakeAll() {
	c.readable.Broadcast()
	c.writable.Broadcast()
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	s := c.s
	s.mu.Lock()
	n, err := c.readLocked(b)
	kick := s.queued
	s.mu.Unlock()
	if kick {
		_ = s.dev.fill() // tells the guest of its credit
	}
	if err != nil && err != io.EOF {
		err = c.opError("read", err)
	}
	return n, err
}

func (c *Conn) readLocked(b []byte) (int, error) {
	s := c.s
	for {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case c.readDeadline.expired:
			return 0, os.ErrDeadlineExceeded
		case c.readShut:
			return 0, io.EOF
		case len(b) == 0:
			return 0, nil
		case s.buf.len() > 0:
			n := s.buf.read(b)
			s.took(n)
			return n, nil
		case s.shutPeer&ShutdownSend != 0:
			return 0, io.EOF
		case s.state == stateDead && s.err == nil:
			return 0, io.EOF
		case s.state == stateDead:
			return 0, s.err
		}
		c.readable.Wait()
	}
}

// Write implements net.Conn. After an error, n bytes of b were sent.
func (c *Conn) Write(b []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := c.writeError(); err != nil {
		return 0, c.opError("write", err)
	}
	if len(b) == 0 {
		return 0, nil
	}
	s.out, s.done = b, 0
	s.egress.restart()
	if s.twin != nil {
		s.pass()
	} else {
		s.dev.enqueue(s)
	}
	s.mu.Unlock()
	_ = s.dev.fill() // often all it takes
	s.mu.Lock()
	for len(s.out) > 0 && c.writeError() == nil {
		c.writable.Wait()
	}
	s.out = nil // b is the caller's again
	if s.done < len(b) {
		err = c.opError("write", c.writeError())
	}
	return s.done, err
}

// writeError says why Write cannot go on, nil if it can.
func (c *Conn) writeError() error {
	s := c.s
	switch {
	case c.closed:
		return net.ErrClosed
	case c.writeDeadline.expired:
		return os.ErrDeadlineExceeded
	case s.shutWant&ShutdownSend != 0 || s.shutPeer&ShutdownReceive != 0:
		return unix.EPIPE
	case s.state == stateDead && s.err == nil:
		return unix.EPIPE
	case s.state == stateDead:
		return s.err
	}
	return nil
}

// CloseWrite tells the guest that no more data follows; it reads to the end.
func (c *Conn) CloseWrite() error { return c.shut(ShutdownSend) }

// CloseRead tells the guest that nobody reads any more; it gets EPIPE. Read
// returns io.EOF.
func (c *Conn) CloseRead() error { return c.shut(ShutdownReceive) }

func (c *Conn) shut(flag uint32) error {
	s := c.s
	s.mu.Lock()
	if c.closed {
		s.mu.Unlock()
		return c.opError("close", net.ErrClosed)
	}
	if flag == ShutdownReceive {
		c.readShut = true
		c.discard()
	} else {
		s.out = nil
	}
	s.shut(flag)
	c.wakeAll()
	s.mu.Unlock()
	_ = s.dev.fill()
	return nil
}

// discard drops what was received.
func (c *Conn) discard() {
	n := c.s.buf.len()
	c.s.buf = ring{}
	c.s.took(n)
}

// SetLinger with sec 0 makes Close reset the connection, so that the guest
// cannot mistake an abort for the end of the data. Any other value restores
// the orderly close. Close never waits in either case.
func (c *Conn) SetLinger(sec int) error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.closed {
		return c.opError("set", net.ErrClosed)
	}
	c.abrupt = sec == 0
	return nil
}

// Close ends the connection and returns at once. The guest gets what was
// written and then the end; it is given [Config.CloseTimeout] to confirm. What
// was received and not read is discarded. Close returns nil and may be called
// again.
func (c *Conn) Close() error {
	s := c.s
	s.mu.Lock()
	c.end(c.abrupt)
	s.mu.Unlock()
	_ = s.dev.fill()
	return nil
}

// abandon resets a connection that nobody accepted.
func (c *Conn) abandon() {
	c.s.mu.Lock()
	c.end(true)
	c.s.mu.Unlock()
	_ = c.s.dev.fill()
}

// end is the end of the Go side; s.mu is held.
func (c *Conn) end(rst bool) {
	if c.closed {
		return
	}
	s := c.s
	c.closed = true
	c.readDeadline.stop()
	c.writeDeadline.stop()
	s.out = nil
	c.discard()
	if rst {
		s.kill(net.ErrClosed, s.pending&pendRequest == 0)
	} else {
		s.close()
	}
	s.release()
	c.wakeAll()
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, true, true) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, true, false) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, false, true) }

func (c *Conn) setDeadlines(t time.Time, read, write bool) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.closed {
		return c.opError("set", net.ErrClosed)
	}
	if read {
		c.readDeadline.at(t, &c.readable)
	}
	if write {
		c.writeDeadline.at(t, &c.writable)
	}
	return nil
}
