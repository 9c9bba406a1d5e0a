package vsockproxy_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A pipeConn is one end of a pipe without buffers that knows half-close, reset and
// read deadlines, as sockets do, and that a synctest bubble can wait for.
type pipeConn struct {
	r *io.PipeReader
	w *io.PipeWriter

	mu       sync.Mutex // protects what follows
	linger0  bool
	deadline *time.Timer
}

func pipe() (a, b *pipeConn) {
	ar, bw := io.Pipe()
	br, aw := io.Pipe()
	return &pipeConn{r: ar, w: aw}, &pipeConn{r: br, w: bw}
}

func (c *pipeConn) Read(b []byte) (int, error)  { return c.r.Read(b) }
func (c *pipeConn) Write(b []byte) (int, error) { return c.w.Write(b) }
func (c *pipeConn) CloseWrite() error           { return c.w.Close() }

func (c *pipeConn) SetLinger(sec int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.linger0 = sec == 0
	return nil
}

func (c *pipeConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deadline != nil {
		c.deadline.Stop()
	}
	end := io.EOF
	if c.linger0 {
		end = syscall.ECONNRESET
	}
	c.r.CloseWithError(net.ErrClosed)
	return c.w.CloseWithError(end)
}

// SetReadDeadline can be moved until it is met.
func (c *pipeConn) SetReadDeadline(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deadline != nil {
		c.deadline.Stop()
	}
	c.deadline = time.AfterFunc(time.Until(at), func() { c.r.CloseWithError(os.ErrDeadlineExceeded) })
	return nil
}

func (c *pipeConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (c *pipeConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }
func (c *pipeConn) LocalAddr() net.Addr              { return pipeAddr{} }
func (c *pipeConn) RemoteAddr() net.Addr             { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// A pipeListener is the vsock side of a proxy.
type pipeListener struct {
	conns  chan net.Conn
	failed chan error // makes Accept fail
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), failed: make(chan error, 1), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case err := <-l.failed:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

// connect is what an enclave does. It waits until the proxy accepts.
func (l *pipeListener) connect(t *testing.T) *pipeConn {
	t.Helper()
	ours, theirs := pipe()
	select {
	case l.conns <- theirs:
	case <-time.After(time.Hour):
		t.Fatal("nobody accepts")
	}
	return ours
}
