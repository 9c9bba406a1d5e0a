package mux

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait. It is never used up unless the test fails.
const patience = 20 * time.Second

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// pair connects a Host and a Guest with a listener.
func pair(t testing.TB) (*Host, *Guest, *Listener) {
	t.Helper()
	a, b := net.Pipe()
	g := &Guest{}
	l, err := g.Listen()
	if err != nil {
		t.Fatal(err)
	}
	runGuest(t, g, b)
	t.Cleanup(func() { l.Close() })
	h := NewHost(a)
	t.Cleanup(func() { h.Close() })
	return h, g, l
}

// runGuest serves a port until the test ends and returns how to end it sooner.
func runGuest(t testing.TB, g *Guest, port io.ReadWriteCloser) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx, port) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("Run did not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// connect opens a stream and returns both ends.
func connect(t testing.TB, h *Host, l *Listener) (host, guest net.Conn) {
	t.Helper()
	host, err := h.Dial(within(t))
	if err != nil {
		t.Fatal(err)
	}
	guest, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{host, guest} {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	return host, guest
}

// exchange sends b through a stream and expects it at the other end.
func exchange(t testing.TB, from, to net.Conn, b []byte) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := from.Write(b)
		sent <- err
	}()
	got := make([]byte, len(b))
	if _, err := io.ReadFull(to, got); err != nil {
		t.Fatalf("read: %v", err)
	}
	if !bytes.Equal(got, b) {
		t.Errorf("%d bytes arrived changed", len(b))
	}
	if err := <-sent; err != nil {
		t.Errorf("write: %v", err)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

func TestStreams(t *testing.T) {
	h, _, l := pair(t)
	var wg sync.WaitGroup
	for range 8 {
		host, guest := connect(t, h, l)
		wg.Go(func() {
			// More than a window, so that credit goes back, and both ways.
			exchange(t, host, guest, random(3*window+17))
			exchange(t, guest, host, random(3*window+17))
			exchange(t, host, guest, make([]byte, window+1))
		})
	}
	wg.Wait()
}

// What was written before Close arrives, then io.EOF.
func TestClose(t *testing.T) {
	for _, hostCloses := range []bool{true, false} {
		h, _, l := pair(t)
		a, b := connect(t, h, l)
		if !hostCloses {
			a, b = b, a
		}
		want := random(window / 2)
		if _, err := a.Write(want); err != nil {
			t.Fatal(err)
		}
		a.Close()
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("host closes %v: read %d of %d bytes, %v", hostCloses, len(got), len(want), err)
		}
		if _, err := b.Write([]byte("x")); err == nil {
			t.Errorf("host closes %v: write after the end worked", hostCloses)
		}
	}
}

// One stream that nobody reads does not hold up another.
func TestNoHeadOfLineBlocking(t *testing.T) {
	h, _, l := pair(t)
	stuck, _ := connect(t, h, l)
	go stuck.Write(make([]byte, 4*window))
	host, guest := connect(t, h, l)
	exchange(t, host, guest, random(2*window))
	exchange(t, guest, host, random(2*window))
}

func TestRefused(t *testing.T) {
	h, _, l := pair(t)
	for range MaxStreams {
		connect(t, h, l)
	}
	if _, err := h.Dial(within(t)); !errors.Is(err, errMany) {
		t.Errorf("one more than MaxStreams: %v", err)
	}
}

func TestNoListener(t *testing.T) {
	h, g, l := pair(t)
	l.Close()
	if _, err := h.Dial(within(t)); !errors.Is(err, ErrRefused) {
		t.Errorf("without a listener: %v, want ErrRefused", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	l2, err := g.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l2.Close()
	host, guest := connect(t, h, l2)
	exchange(t, host, guest, []byte("again"))
	if _, err := g.Listen(); err == nil {
		t.Error("two listeners at a time")
	}
}

// Streams that wait to be accepted end with the listener.
func TestListenerCloses(t *testing.T) {
	h, _, l := pair(t)
	c, err := h.Dial(within(t))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read: %v, want EOF", err)
	}
}

// A port whose other end does not read keeps Dial for as long as its context says.
func TestDialContext(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	h := NewHost(a)
	defer h.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := h.Dial(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial: %v", err)
	}
}

func TestPortEnds(t *testing.T) {
	h, _, l := pair(t)
	host, guest := connect(t, h, l)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{host, guest} {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a stream outlived its port")
		}
	}
	if _, err := h.Dial(within(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("Dial: %v, want ErrClosed", err)
	}
}

// A wire is the guest's port of a machine that is saved and restored: what the
// Host's end is connected to changes, and the guest does not notice.
type wire struct {
	io.Reader
	mu sync.Mutex
	w  io.Writer
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(p)
}
func (w *wire) Close() error { return w.Reader.(io.Closer).Close() }

// A Host that begins anew ends the streams of the one before, and is understood
// although the last frame of that was cut off.
func TestNewConversation(t *testing.T) {
	r, toGuest := io.Pipe()
	port := &wire{Reader: r, w: io.Discard}
	g := &Guest{}
	l, err := g.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	runGuest(t, g, port)

	var before []byte
	before = appendFrame(before, kindHello, 0, nil)
	before = appendFrame(before, kindOpen, 7, []byte{version})
	before = appendFrame(before, kindData, 7, []byte("whole"))
	before = append(before, appendFrame(nil, kindData, 7, bytes.Repeat([]byte{1}, maxPayload))[:1000]...)
	if _, err := toGuest.Write(before); err != nil {
		t.Fatal(err)
	}
	old, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	old.SetDeadline(time.Now().Add(patience))
	b := make([]byte, 10)
	if n, err := old.Read(b); err != nil || string(b[:n]) != "whole" {
		t.Errorf("read %q, %v", b[:n], err)
	}

	fromGuest, w := io.Pipe()
	port.mu.Lock()
	port.w = w
	port.mu.Unlock()
	h := NewHost(&pipeConn{r: fromGuest, w: toGuest})
	defer h.Close()
	host, guest := connect(t, h, l)
	exchange(t, host, guest, random(100))
	exchange(t, guest, host, random(100))
	if _, err := old.Read(b); err != io.EOF {
		t.Errorf("read of a stream of the conversation before: %v, want EOF", err)
	}
}

// A Host notices that the guest's agent was started again.
func TestAgentRestart(t *testing.T) {
	r, toGuest := io.Pipe()
	fromGuest, w := io.Pipe()
	defer toGuest.Close()
	h := newHost(&pipeConn{r: fromGuest, w: toGuest}, 20*time.Millisecond)
	defer h.Close()
	// Closing the port of a process does not close the machine's end.
	serve := func() (*Listener, func()) {
		g := &Guest{}
		l, err := g.Listen()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		in, feed := io.Pipe()
		quit := make(chan struct{})
		pumped := make(chan struct{})
		go func() {
			defer close(pumped)
			buf := make([]byte, 100)
			for {
				n, err := r.Read(buf)
				if err != nil {
					feed.Close()
					return
				}
				select {
				case <-quit:
					return
				default:
				}
				if _, err := feed.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
		stop := runGuest(t, g, &wire{Reader: in, w: w})
		return l, func() {
			close(quit)
			stop()
			<-pumped
		}
	}
	l, stop := serve()
	host, _ := connect(t, h, l)
	stop()
	l2, _ := serve()
	if _, err := host.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read: %v, want EOF", err)
	}
	host, guest := connect(t, h, l2)
	exchange(t, host, guest, random(10))
}

// A pipeConn is a net.Conn of two pipes, of which only closing is used.
type pipeConn struct {
	net.Conn
	r *io.PipeReader
	w *io.PipeWriter
}

func (c *pipeConn) Read(b []byte) (int, error)  { return c.r.Read(b) }
func (c *pipeConn) Write(b []byte) (int, error) { return c.w.Write(b) }
func (c *pipeConn) Close() error {
	c.r.Close()
	return c.w.Close()
}

// A guest that breaks the rules loses the stream, and nothing else.
func TestHostileGuest(t *testing.T) {
	tests := []struct {
		name string
		send func(id uint32) []byte
		ends bool
	}{
		{"more than the window", func(id uint32) (b []byte) {
			for range 2 * window / maxPayload {
				b = appendFrame(b, kindData, id, make([]byte, maxPayload))
			}
			return b
		}, true},
		{"credit that it did not get", func(id uint32) []byte { return appendFrame(nil, kindCredit, id, []byte{1, 0, 0, 0}) }, true},
		{"short credit", func(id uint32) []byte { return appendFrame(nil, kindCredit, id, []byte{0}) }, true},
		{"data of no stream", func(id uint32) []byte { return appendFrame(nil, kindData, id+9, []byte("x")) }, false},
		{"opens a stream", func(id uint32) []byte { return appendFrame(nil, kindOpen, id+9, []byte{version}) }, false},
		{"opened twice", func(id uint32) []byte { return appendFrame(nil, kindOpened, id, nil) }, false},
		{"hello", func(uint32) []byte { return appendFrame(nil, kindHello, 0, nil) }, false},
		{"too long", func(uint32) []byte { return append(bytes.Repeat([]byte{255}, 3*maxEncoded), 0) }, false},
		{"no frame", func(uint32) []byte { return []byte{0, 9, 1, 0, 0, 1, 0, 2, 7, 0} }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := net.Pipe()
			defer b.Close()
			b.SetDeadline(time.Now().Add(patience))
			h := NewHost(a)
			defer h.Close()
			dial := func() (net.Conn, uint32) {
				t.Helper()
				done := make(chan net.Conn, 1)
				go func() {
					c, err := h.Dial(within(t))
					if err != nil {
						t.Error(err)
					}
					done <- c
				}()
				frames := newFrameReader(b)
				for {
					k, id, _, err := frames.frame()
					if err != nil {
						t.Fatal(err)
					}
					if k == kindOpen {
						if _, err := b.Write(appendFrame(nil, kindOpened, id, nil)); err != nil {
							t.Fatal(err)
						}
						return <-done, id
					}
				}
			}
			c, id := dial()
			if _, err := b.Write(tt.send(id)); err != nil {
				t.Fatal(err)
			}
			go io.Copy(io.Discard, b)
			if tt.ends {
				c.SetDeadline(time.Now().Add(patience))
				if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("the stream goes on")
				}
				return
			}
			if _, err := b.Write(appendFrame(nil, kindData, id, []byte("fine"))); err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(patience))
			got := make([]byte, 4)
			if _, err := io.ReadFull(c, got); err != nil || string(got) != "fine" {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
}

func TestFrame(t *testing.T) {
	for _, n := range []int{0, 1, 248, 249, 250, 253, 254, 255, 508, 509, 510, maxPayload} {
		for _, fill := range []func([]byte){
			func(b []byte) { clear(b) },
			func(b []byte) { copy(b, bytes.Repeat([]byte{255}, len(b))) },
			func(b []byte) { copy(b, random(len(b))) },
		} {
			want := make([]byte, n)
			fill(want)
			enc := appendFrame(nil, kindData, 0x01000200, want)
			if len(enc) > maxEncoded+2 || bytes.IndexByte(enc[1:len(enc)-1], 0) >= 0 {
				t.Fatalf("%d bytes are encoded as %d with a zero in it", n, len(enc))
			}
			k, id, got, err := newFrameReader(bytes.NewReader(enc)).frame()
			if err != nil || k != kindData || id != 0x01000200 {
				t.Fatalf("%d bytes: kind %d stream %#x, %v", n, k, id, err)
			}
			if diff := cmp.Diff(want, got); diff != "" && n > 0 {
				t.Errorf("%d bytes: %s", n, diff)
			}
		}
	}
}

// The end of a frame that is too long is not a frame, whatever it looks like.
func TestFrameTooLong(t *testing.T) {
	in := bytes.Repeat([]byte{1}, maxEncoded+1)
	in = append(in, appendFrame(nil, kindClose, 1, nil)[1:]...)
	in = append(in, appendFrame(nil, kindClose, 2, nil)...)
	if k, id, _, err := newFrameReader(bytes.NewReader(in)).frame(); k != kindClose || id != 2 || err != nil {
		t.Errorf("frame %d of stream %d, %v", k, id, err)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, kindHello, 0, nil), kindData, 5, []byte("a\x00b")), 3)
	f.Add([]byte{0, 255, 1, 0}, 1)
	f.Add(bytes.Repeat([]byte{7}, 1000), 999)
	f.Fuzz(func(t *testing.T, in []byte, chunk int) {
		fr := newFrameReader(&chunks{in, max(1, chunk%5000)})
		for {
			k, id, payload, err := fr.frame()
			if err != nil {
				break
			}
			if len(payload) > maxPayload {
				t.Fatalf("payload of %d bytes", len(payload))
			}
			// What was read can be written and is read the same.
			want := bytes.Clone(payload)
			k2, id2, got, err := newFrameReader(bytes.NewReader(appendFrame(nil, k, id, want))).frame()
			if err != nil || k2 != k || id2 != id || !bytes.Equal(got, want) {
				t.Fatalf("frame %d %d %x became %d %d %x, %v", k, id, want, k2, id2, got, err)
			}
		}
		if cap(fr.buf) != maxEncoded+1 {
			t.Fatalf("buffer grew to %d", cap(fr.buf))
		}
	})
}

// chunks gives a few bytes at a time.
type chunks struct {
	b []byte
	n int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.n)], c.b)
	c.b = c.b[n:]
	return n, nil
}

// FuzzGuest sends any frames to a guest, which must go on to serve.
func FuzzGuest(f *testing.F) {
	open := appendFrame(appendFrame(nil, kindHello, 0, nil), kindOpen, 1, []byte{version})
	f.Add(open)
	f.Add(appendFrame(open, kindData, 1, []byte("x")))
	f.Add(appendFrame(open, kindClose, 1, nil))
	f.Add(appendFrame(open, kindCredit, 1, []byte{255, 255, 255, 255}))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, b := net.Pipe()
		g := &Guest{}
		l, err := g.Listen()
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		defer l.Close()
		wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				wg.Go(func() {
					defer c.Close()
					io.Copy(c, c)
				})
			}
		})
		runGuest(t, g, b)
		a.SetDeadline(time.Now().Add(patience))
		wg.Go(func() {
			// The last zero ends whatever frame the input left open.
			a.Write(appendFrame(append(in, 0), kindHello, 0, nil))
			a.Write(appendFrame(nil, kindOpen, 0x77777777, []byte{version}))
			a.Write(appendFrame(nil, kindData, 0x77777777, []byte("still there")))
		})
		defer a.Close()
		frames := newFrameReader(a)
		for {
			k, id, payload, err := frames.frame()
			if err != nil {
				t.Fatal(err)
			}
			if k == kindData && id == 0x77777777 && string(payload) == "still there" {
				return
			}
		}
	})
}

func BenchmarkStream(b *testing.B) {
	x, y := socketPair(b)
	g := &Guest{}
	l, err := g.Listen()
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	runGuest(b, g, y)
	h := NewHost(x)
	defer h.Close()
	host, guest := connect(b, h, l)
	buf := random(32 << 10) // as encrypted data is
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(io.Discard, guest) })
	for b.Loop() {
		host.Write(buf)
	}
	host.Close()
	wg.Wait()
}
