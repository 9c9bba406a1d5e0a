package vsock

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func (p *peer) shutdown(flags uint32) {
	p.t.Helper()
	h := p.out(OpShutdown)
	h.Flags = flags
	p.send(h)
}

// bye is the device's SHUTDOWN.
func (p *peer) bye(flags, fwd uint32) packet {
	b := p.in(OpShutdown, fwd)
	b.Flags = flags
	return b
}

// A guest that closes its socket sends SHUTDOWN and waits for RST.
func TestGuestCloses(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1234)
	p.write([]byte("last words"))
	p.shutdown(shutdownBoth)
	g.expect(p.rst())
	wantRead(t, c, []byte("last words"))
	wantEnd(t, c, io.EOF)
	wantEnd(t, c, io.EOF)
	_, err := c.Write([]byte("x"))
	wantErr(t, err, unix.EPIPE)
	must(t, c.Close())
	g.expect()
	// The address is free for the guest at once.
	g.connect(l, 1234)
}

func TestGuestHalfCloses(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1234)
	p.write([]byte("request"))
	p.shutdown(ShutdownSend)
	got, err := io.ReadAll(c)
	must(t, err)
	if string(got) != "request" {
		t.Fatalf("read %q", got)
	}
	if _, err := c.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	must(t, c.Close())
	want := p.in(OpRW, 7)
	want.Len, want.Data = 6, []byte("answer")
	g.expect(want, p.bye(shutdownBoth, 7))
	g.send(p.out(OpRST))
	g.expect()
	wantStreams(t, g.dev, 0)
}

// Both halves, one after the other, are a close.
func TestGuestClosesInHalves(t *testing.T) {
	for _, order := range [][2]uint32{{ShutdownSend, ShutdownReceive}, {ShutdownReceive, ShutdownSend}} {
		sw := newSwitch(t, nil)
		l := listen(t, sw, CIDParent, 9000)
		g := attach(t, sw, 16, 8)
		p, c := g.connect(l, 1234)
		p.shutdown(order[0])
		g.expect()
		p.shutdown(order[1])
		g.expect(p.rst())
		wantEnd(t, c, io.EOF)
	}
}

// A guest that does not receive any more fails the writer, also one that waits.
func TestGuestStopsReceiving(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 100)
	p, c := g.connect(l, 1234)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, 2*guestAlloc))
		wrote <- err
	}()
	g.await(OpRW)
	p.shutdown(ShutdownReceive)
	wantErr(t, <-wrote, unix.EPIPE)
	p.write([]byte("one way still works"))
	wantRead(t, c, []byte("one way still works"))
	must(t, c.Close())
}

// Data after the end of the data is a lie.
func TestDataAfterShutdown(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1234)
	p.shutdown(ShutdownSend)
	p.write([]byte("x"))
	g.expect(p.rst())
	wantEnd(t, c, io.EOF) // that is what it had said before
	_, err := c.Write([]byte("x"))
	wantErr(t, err, unix.EPROTO)
}

func TestCloseWrite(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1234)
	if _, err := c.Write([]byte("request")); err != nil {
		t.Fatal(err)
	}
	must(t, c.CloseWrite())
	want := p.in(OpRW, 0)
	want.Len, want.Data = 7, []byte("request")
	g.expect(want, p.bye(ShutdownSend, 0))
	must(t, c.CloseWrite()) // again is nothing
	g.expect()
	_, err := c.Write([]byte("x"))
	wantErr(t, err, unix.EPIPE)
	p.write([]byte("answer"))
	wantRead(t, c, []byte("answer"))
	must(t, c.Close())
	g.expect(p.bye(shutdownBoth, 6))
}

// CloseWrite ends a Write that waits.
func TestCloseWriteInterruptsWrite(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	_, c := g.connect(l, 1234)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, 2*guestAlloc))
		wrote <- err
	}()
	g.await(OpRW)
	must(t, c.CloseWrite())
	wantErr(t, <-wrote, unix.EPIPE)
	g.await(OpShutdown)
}

func TestCloseRead(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1234)
	p.write([]byte("never read"))
	must(t, c.CloseRead())
	g.expect(p.bye(ShutdownReceive, 10))
	wantEnd(t, c, io.EOF)
	// What was under way is discarded, and does not use up the credit.
	for range 10 {
		p.write(make([]byte, 60000))
	}
	for _, f := range g.recv() {
		if f.Op != OpCreditUpdate {
			t.Errorf("guest got %v", f)
		}
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	must(t, c.Close())
}

// Close is orderly: what was written arrives, then SHUTDOWN, and the guest
// confirms with RST.
func TestClose(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1234)
	p.write([]byte("unread"))
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	must(t, c.Close())
	must(t, c.Close())
	want := p.in(OpRW, 0)
	want.Len, want.Data = 1, []byte("x")
	g.expect(want, p.bye(shutdownBoth, 6))

	for name, err := range map[string]error{
		"read":      func() error { _, err := c.Read(make([]byte, 1)); return err }(),
		"write":     func() error { _, err := c.Write([]byte("x")); return err }(),
		"deadline":  c.SetDeadline(time.Now()),
		"linger":    c.SetLinger(0),
		"closeread": c.CloseRead(),
	} {
		t.Log(name)
		wantErr(t, err, net.ErrClosed)
	}

	// Until the guest confirms, what it still sends is taken and thrown away.
	p.write([]byte("under way"))
	g.expect()
	wantStreams(t, g.dev, 1)
	g.send(p.out(OpRST))
	g.expect()
	wantStreams(t, g.dev, 0)
	p.write([]byte("too late"))
	g.expect(p.rst())
}

// Both close at the same time: each one's SHUTDOWN crosses the other's.
func TestSimultaneousClose(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1234)
	must(t, c.Close())
	p.shutdown(shutdownBoth)
	g.expect(p.bye(shutdownBoth, 0), p.rst())
	g.send(p.out(OpRST))
	g.expect()
	wantStreams(t, g.dev, 0)
}

// A guest that does not confirm is reset when the time is up, and not before.
func TestCloseTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw := newSwitch(t, &Config{CloseTimeout: 3 * time.Second})
		l := listen(t, sw, CIDParent, 9000)
		g := attach(t, sw, 16, 8)
		p, c := g.connect(l, 1234)
		must(t, c.Close())
		g.expect(p.bye(shutdownBoth, 0))
		time.Sleep(3*time.Second - 1)
		synctest.Wait()
		g.expect()
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		g.expect(p.rst())
		wantStreams(t, g.dev, 0)
	})
}

// A timer that expired just before it was set anew has no effect.
func TestStaleTimer(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	_, c := g.connect(l, 1234)
	must(t, c.Close())
	c.s.timeout()
	wantStreams(t, g.dev, 1)
}

// Without receive buffers the guest cannot even be told; it is forgotten all
// the same.
func TestCloseTimeoutWithoutBuffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw := newSwitch(t, nil)
		l := listen(t, sw, CIDParent, 9000)
		g := attach(t, sw, 16, 0)
		p := g.conn(1234, CIDParent, 9000)
		g.send(p.out(OpRequest))
		must(t, accept(t, l).Close())
		time.Sleep(defaultCloseTimeout)
		synctest.Wait()
		wantStreams(t, g.dev, 0)
		g.post(8, rxBuffer)
		g.expect(p.rst())
	})
}

// A guest that took the end for granted may use the address again at once.
func TestNewRequestWhileClosing(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1234)
	must(t, c.Close())
	g.expect(p.bye(shutdownBoth, 0))
	g.connect(l, 1234)
}

// A request on an open connection is nonsense.
func TestRequestTwice(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1234)
	g.send(p.out(OpRequest))
	g.expect(p.rst())
	wantEnd(t, c, unix.ECONNRESET)
}

// A response on an open connection likewise.
func TestResponseTwice(t *testing.T) {
	sw := newSwitch(t, nil)
	g := attach(t, sw, 16, 8)
	p, c := g.answer(dial(t, sw, CIDParent, 16, 1))
	g.send(p.out(OpResponse))
	g.expect(p.rst())
	wantEnd(t, c, unix.EPROTO)
}

func TestGuestResets(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1234)
	p.write([]byte("before"))
	stuck := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, 2*guestAlloc))
		stuck <- err
	}()
	g.await(OpRW)
	g.send(p.out(OpRST))
	wantErr(t, <-stuck, unix.ECONNRESET)
	wantRead(t, c, []byte("before"))
	_, err := c.Read(make([]byte, 1))
	wantErr(t, err, unix.ECONNRESET)
	for _, f := range g.recv() {
		if f.Op != OpRW {
			t.Errorf("guest got %v after its reset", f)
		}
	}
}

func TestLingerZero(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1234)
	must(t, c.SetLinger(0))
	must(t, c.Close())
	g.expect(p.rst())
	wantStreams(t, g.dev, 0)

	p, c = g.connect(l, 1235)
	must(t, c.SetLinger(0))
	must(t, c.SetLinger(-1))
	must(t, c.Close())
	g.expect(p.bye(shutdownBoth, 0))
}

// Close wakes whoever waits.
func TestCloseInterrupts(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	_, c := g.connect(l, 1234)
	errs := make(chan error, 2)
	go func() {
		_, err := c.Read(make([]byte, 1))
		errs <- err
	}()
	go func() {
		_, err := c.Write(make([]byte, 2*guestAlloc))
		errs <- err
	}()
	g.await(OpRW)
	must(t, c.Close())
	for range 2 {
		wantErr(t, <-errs, net.ErrClosed)
	}
}

// wantStreams fails unless the device remembers n connections and has given
// back the memory of all others.
func wantStreams(t testing.TB, d *Device, n int) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	granted := 0
	for _, s := range d.streams {
		granted += int(s.recv.alloc)
	}
	live, counted := 0, 0
	for cid, a := range d.accounts {
		live += a.live
		counted += a.granted
		if a.live == 0 && !a.turn.listed {
			t.Errorf("an empty account of CID %d is left", cid)
		}
	}
	if len(d.streams) != n || live != n || counted != granted {
		t.Errorf("%d connections, %d counted, %d bytes granted, want %d, %d, %d", len(d.streams), live, counted, n, n, granted)
	}
	for _, s := range d.timers {
		if s.state == stateDead {
			t.Error("a timer of a dead connection is left")
		}
	}
}
