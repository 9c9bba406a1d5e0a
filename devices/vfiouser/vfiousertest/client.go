// Package vfiousertest has a scripted vfio-user client: the other end of
// vfiouser.Serve, in a test's own hands. It checks what it receives as strictly as
// QEMU does, fails the test otherwise, and waits for nothing longer than [Wait].
package vfiousertest

import (
	"context"
	"encoding/binary"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/internal/scm"
	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/vfiouser"
)

// Wait bounds everything that has to happen.
const Wait = 10 * time.Second

// maxMessage is the largest message a client receives.
const maxMessage = 64 + 1<<20

// A Client is one vfio-user client. Its methods are for one goroutine at a time, and
// for that of the test, whose Fatal they call.
//
// It uses the socket like QEMU does, by blocking system calls, so that benchmarks
// measure the server and not the runtime's poller. [Client.Read], [Client.Write] and
// [Client.Post] do not allocate.
type Client struct {
	t   testing.TB
	fd  int
	id  uint16
	buf []byte // of the last message received
	out []byte
	in  *scm.Receiver
	fds scm.List // of the last message received

	// Serves answers requests of the server (DMA_READ, DMA_WRITE) that arrive while
	// a reply is due: the payload to reply, or an errno. Nil fails the test.
	Serves func(command uint16, payload []byte) ([]byte, syscall.Errno)

	done chan error
	once sync.Once
	err  error
}

// Socketpair returns two connected sockets.
func Socketpair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conns := make([]*net.UnixConn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socketpair")
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		conns[i] = c.(*net.UnixConn)
	}
	return conns[0], conns[1]
}

// Serve starts vfiouser.Serve with f and returns a client that is connected to it
// and has said nothing yet. At the end of the test the connection is closed and
// Serve waited for.
func Serve(t testing.TB, f *pci.Function, cfg *vfiouser.Config) *Client {
	t.Helper()
	return ServeContext(t.Context(), t, f, cfg)
}

// ServeContext is [Serve] with a context for the server.
func ServeContext(ctx context.Context, t testing.TB, f *pci.Function, cfg *vfiouser.Config) *Client {
	t.Helper()
	ours, theirs := Socketpair(t)
	done := make(chan error, 1)
	go func() { done <- vfiouser.Serve(ctx, theirs, f, cfg) }()
	c := New(t, ours)
	c.done = done
	t.Cleanup(func() {
		c.Close()
		_ = c.Result()
	})
	return c
}

// Attach is [Serve], the agreement on a version, and memory decoding and bus mastering
// switched on: a function ready to be driven.
func Attach(t testing.TB, f *pci.Function, cfg *vfiouser.Config) *Client {
	t.Helper()
	c := Serve(t, f, cfg)
	c.Negotiate()
	c.SetConfig(4, 2, uint32(pci.CommandMemory|pci.CommandIO|pci.CommandBusMaster))
	return c
}

// New returns a client over conn, which it takes over, without a server of its own.
func New(t testing.TB, conn *net.UnixConn) *Client {
	t.Helper()
	c := &Client{t: t, fd: -1, in: scm.NewReceiver(16), buf: make([]byte, maxMessage)}
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if ctlErr := raw.Control(func(fd uintptr) { c.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); ctlErr != nil || err != nil {
		t.Fatal(ctlErr, err)
	}
	_ = conn.Close()
	tv := unix.NsecToTimeval(Wait.Nanoseconds())
	for _, err := range []error{
		unix.SetNonblock(c.fd, false),
		unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(c.Close)
	return c
}

// Close ends the connection, at any point of a conversation. Close again does nothing.
func (c *Client) Close() {
	c.fds.Close()
	if c.fd >= 0 {
		_ = unix.Close(c.fd)
		c.fd = -1
	}
}

// CloseWrite tells the server that nothing more comes.
func (c *Client) CloseWrite() { _ = unix.Shutdown(c.fd, unix.SHUT_WR) }

// Result waits until Serve returns, and is its error.
func (c *Client) Result() error {
	c.t.Helper()
	c.once.Do(func() {
		select {
		case c.err = <-c.done:
		case <-time.After(Wait):
			panic("vfiouser.Serve does not return")
		}
	})
	return c.err
}

// QEMUCapabilities is what QEMU 11.1.3 sends in its VERSION, without the NUL.
const QEMUCapabilities = `{"capabilities": {"pgsizes": 4096, "max_msg_fds": 16, "max_dma_maps": 65535, "max_data_xfer_size": 1048576, "migration": {"max_bitmap_size": 268435456, "pgsize": 4096}, "write_multiple": true}}`

// Negotiate agrees on a version as QEMU does, and returns the server's capabilities,
// whose form it checks: no longer than its own, with a NUL.
func (c *Client) Negotiate() string {
	c.t.Helper()
	ask := append([]byte{0, 0, 0, 0}, QEMUCapabilities+"\x00"...)
	got := c.Do(Version, ask)
	if len(got) > len(ask) || len(got) < 5 || got[len(got)-1] != 0 || binary.LittleEndian.Uint32(got) != 0 {
		c.t.Fatalf("vfiousertest: VERSION reply %q", got)
	}
	return string(got[4 : len(got)-1])
}
