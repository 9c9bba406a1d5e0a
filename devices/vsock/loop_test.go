package vsock

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/nettest"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/weaken"
)

// loop connects two Go endpoints of one switch.
func loop(t *testing.T, sw *Switch, l *Listener) (dialled, accepted *Conn) {
	t.Helper()
	c, err := sw.Dial(t.Context(), CIDParent, l.addr.CID, l.addr.Port)
	must(t, err)
	must(t, c.SetDeadline(time.Now().Add(patience)))
	return c, accept(t, l)
}

func console(t *testing.T) (*Switch, *Listener) {
	sw := newSwitch(t, &Config{Window: leastWindow})
	return sw, listen(t, sw, CIDHypervisor, ConsolePort(16))
}

// Two Go endpoints behave as the net package says, too.
func TestLoopNetConn(t *testing.T) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		sw, l := console(t)
		c, err := sw.Dial(t.Context(), CIDParent, CIDHypervisor, l.addr.Port)
		must(t, err)
		must(t, l.SetDeadline(time.Now().Add(patience)))
		a, err := l.Accept()
		must(t, err)
		return c, a, func() {
			must(t, c.Close())
			must(t, a.Close())
		}, nil
	})
}

func TestLoop(t *testing.T) {
	sw, l := console(t)
	c, a := loop(t, sw, l)
	if c.LocalAddr() != a.RemoteAddr() || c.RemoteAddr() != a.LocalAddr() || a.LocalAddr() != l.Addr() {
		t.Errorf("addresses %v-%v and %v-%v", c.LocalAddr(), c.RemoteAddr(), a.LocalAddr(), a.RemoteAddr())
	}
	// More than a window, so that each waits for the other, both ways at once.
	data := pattern(10*leastWindow + 1)
	var wg sync.WaitGroup
	for _, x := range []*Conn{c, a} {
		wg.Go(func() {
			if n, err := x.Write(data); n != len(data) || err != nil {
				t.Errorf("write: %d, %v", n, err)
			}
			if err := x.CloseWrite(); err != nil {
				t.Error(err)
			}
			if _, err := x.Write([]byte("x")); !errors.Is(err, unix.EPIPE) {
				t.Errorf("write after CloseWrite: %v", err)
			}
		})
		wg.Go(func() {
			if got, err := io.ReadAll(x); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if n := len(sw.loops.open); n != 1 {
		t.Errorf("%d connections are counted, want 1", n)
	}
	must(t, c.Close())
	must(t, a.Close())
	if n := len(sw.loops.open); n != 0 {
		t.Errorf("%d connections are counted, want none", n)
	}
}

// A window is all that is kept of what nobody reads.
func TestLoopIsBounded(t *testing.T) {
	sw, l := console(t)
	c, a := loop(t, sw, l)
	wrote := make(chan int)
	go func() {
		n, _ := c.Write(make([]byte, 10*leastWindow))
		wrote <- n
	}()
	waitFor(t, func() bool {
		a.s.mu.Lock()
		defer a.s.mu.Unlock()
		return a.s.buf.len() == leastWindow
	})
	wantRead(t, a, make([]byte, 100))
	must(t, c.SetWriteDeadline(aLongTimeAgo))
	if n := <-wrote; n != leastWindow+100 {
		t.Errorf("%d bytes were taken, want %d", n, leastWindow+100)
	}
	wantRead(t, a, make([]byte, leastWindow))
}

// How one end goes decides what the other one sees.
func TestLoopEnds(t *testing.T) {
	for _, tt := range []struct {
		name        string
		end         func(t *testing.T, sw *Switch, c *Conn)
		read, write error
	}{
		{"close", func(t *testing.T, _ *Switch, c *Conn) { must(t, c.Close()) }, io.EOF, unix.EPIPE},
		{"abort", func(t *testing.T, _ *Switch, c *Conn) { must(t, c.SetLinger(0)); must(t, c.Close()) }, unix.ECONNRESET, unix.ECONNRESET},
		{"switch", func(t *testing.T, sw *Switch, _ *Conn) { must(t, sw.Close()) }, unix.ECONNRESET, unix.ECONNRESET},
		{"no more reads", func(t *testing.T, _ *Switch, c *Conn) { must(t, c.CloseRead()) }, nil, unix.EPIPE},
		{"no more writes", func(t *testing.T, _ *Switch, c *Conn) { must(t, c.CloseWrite()) }, io.EOF, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sw, l := console(t)
			c, a := loop(t, sw, l)
			if _, err := c.Write([]byte("last words")); err != nil {
				t.Fatal(err)
			}
			tt.end(t, sw, c)
			wantRead(t, a, []byte("last words"))
			if tt.read != nil {
				wantEnd(t, a, tt.read)
			}
			if _, err := a.Write([]byte("x")); !errorIs(err, tt.write) {
				t.Errorf("write: %v, want %v", err, tt.write)
			}
			must(t, a.Close())
			must(t, c.Close())
			if len(sw.loops.open) != 0 {
				t.Error("the connection is still counted")
			}
		})
	}
}

// A writer that waits for room is not left behind.
func TestLoopEndsForAWriter(t *testing.T) {
	for _, end := range []func(*Conn) error{(*Conn).Close, (*Conn).CloseRead} {
		sw, l := console(t)
		c, a := loop(t, sw, l)
		wrote := make(chan error)
		var n int
		go func() {
			var err error
			n, err = c.Write(make([]byte, 10*leastWindow))
			wrote <- err
		}()
		wantRead(t, a, make([]byte, 1))
		must(t, end(a))
		wantErr(t, <-wrote, unix.EPIPE)
		if n != leastWindow+1 || len(a.s.buf.buf) != 0 {
			t.Errorf("%d bytes were taken, %d are kept", n, len(a.s.buf.buf))
		}
	}
}

func TestLoopRefused(t *testing.T) {
	sw := newSwitch(t, &Config{Backlog: 2})
	listen(t, sw, CIDHypervisor, ConsolePort(16))
	listen(t, sw, 17, 1)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name           string
		ctx            context.Context
		from, to, port uint32
		want           error
	}{
		{"no such port", t.Context(), 3, 0, 1, unix.ECONNREFUSED},
		{"no such CID", t.Context(), 3, 18, 1, unix.EHOSTUNREACH},
		{"enclave to console", t.Context(), 17, 0, ConsolePort(16), unix.EACCES},
		{"host to console", t.Context(), 2, 0, ConsolePort(16), unix.EACCES},
		{"enclave to enclave", t.Context(), 18, 17, 1, unix.EACCES},
		{"context that ended", ended, 3, 0, ConsolePort(16), context.Canceled},
		{"first", t.Context(), 3, 17, 1, nil},
		{"second", t.Context(), 3, 17, 1, nil},
		{"backlog", t.Context(), 3, 17, 1, unix.ECONNREFUSED},
	} {
		c, err := sw.Dial(tt.ctx, tt.from, tt.to, tt.port)
		if !errorIs(err, tt.want) || (c == nil) != (err != nil) {
			t.Errorf("%s: %v, %v, want %v", tt.name, c, err, tt.want)
		}
	}
	if n := len(sw.loops.open); n != 2 {
		t.Errorf("%d connections are counted, want 2", n)
	}
}

// An enclave played by Go means its parent by CID 2, like any other.
func TestLoopByAlias(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	listen(t, sw, CIDHost, 9000)
	c, err := sw.Dial(t.Context(), 16, CIDHost, 9000)
	must(t, err)
	if got := accept(t, l).RemoteAddr(); got != c.LocalAddr() {
		t.Errorf("connection is from %v, want %v", got, c.LocalAddr())
	}
}

func TestLoopAfterClose(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	must(t, sw.Close())
	if _, err := l.dial(Addr{16, 1}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial during Close: %v", err)
	}
}

// Policy is the same for Go endpoints, and so is its counter-proof.
func TestLoopIsolationCounterProof(t *testing.T) {
	sw := newSwitch(t, &Config{Weaken: weaken.Only(weaken.EnclaveIsolation)})
	listen(t, sw, 17, 1)
	if _, err := sw.Dial(t.Context(), 18, 17, 1); err != nil {
		t.Errorf("with the protection off: %v", err)
	}
}

func BenchmarkGoToGo(b *testing.B) {
	sw := quiet(b, Config{})
	l := listen(b, sw, CIDHypervisor, ConsolePort(16))
	c, err := sw.Dial(b.Context(), CIDParent, CIDHypervisor, l.addr.Port)
	must(b, err)
	a := accept(b, l)
	buf, data := make([]byte, 64<<10), make([]byte, 64<<10)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(data); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(a, buf); err != nil {
			b.Fatal(err)
		}
	}
}
