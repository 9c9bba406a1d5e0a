package linklocal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if namespaceMain() {
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait. It is never used up unless the test fails.
const patience = 20 * time.Second

// A fakeNetwork listens at free ports of 127.0.0.1 and remembers where each
// address went.
type fakeNetwork struct {
	addrs   []netip.Addr
	fail    string // call that fails
	streams map[netip.AddrPort]net.Listener
	packets map[netip.AddrPort]net.PacketConn
}

var errFake = errors.New("fake")

func newFakeNetwork() *fakeNetwork {
	return &fakeNetwork{streams: map[netip.AddrPort]net.Listener{}, packets: map[netip.AddrPort]net.PacketConn{}}
}

func (f *fakeNetwork) do(call string) error {
	if call == f.fail {
		return errFake
	}
	return nil
}

func (f *fakeNetwork) AddAddresses(addrs ...netip.Addr) error {
	f.addrs = append(f.addrs, addrs...)
	return f.do("addresses")
}

func (f *fakeNetwork) Listen(_ context.Context, at netip.AddrPort) (net.Listener, error) {
	if err := f.do("tcp " + at.String()); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	f.streams[at] = l
	return l, err
}

func (f *fakeNetwork) ListenPacket(_ context.Context, at netip.AddrPort) (net.PacketConn, error) {
	if err := f.do("udp " + at.String()); err != nil {
		return nil, err
	}
	p, err := net.ListenPacket("udp4", "127.0.0.1:0")
	f.packets[at] = p
	return p, err
}

// connect opens a connection to what listens for a service's address.
func (f *fakeNetwork) connect(t *testing.T, at string) *net.TCPConn {
	t.Helper()
	l := f.streams[netip.MustParseAddrPort(at)]
	if l == nil {
		t.Fatalf("nothing listens at %s", at)
	}
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// A fakeHost takes connections as the Host does. What it is asked for comes out of
// asked, in order.
type fakeHost struct {
	asked  chan hostConn
	failed chan struct{} // an element for each dial that failed

	waiting chan struct{} // an element for each dial that the gate holds up

	mu   sync.Mutex
	err  error         // of the next dials
	gate chan struct{} // holds dials up until it is closed; nil for none
}

type hostConn struct {
	*net.TCPConn
	port uint32
}

func newFakeHost() *fakeHost {
	return &fakeHost{asked: make(chan hostConn, maxConns+10), failed: make(chan struct{}, 10), waiting: make(chan struct{}, 10)}
}

func (h *fakeHost) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
}

func (h *fakeHost) dial(_ context.Context, port uint32) (net.Conn, error) {
	h.mu.Lock()
	err, gate := h.err, h.gate
	h.mu.Unlock()
	if gate != nil {
		h.waiting <- struct{}{}
		<-gate
	}
	if err != nil {
		h.failed <- struct{}{}
		return nil, err
	}
	ours, theirs, err := tcpPair()
	if err != nil {
		return nil, err
	}
	theirs.SetDeadline(time.Now().Add(patience))
	h.asked <- hostConn{theirs, port}
	return ours, nil
}

// next is the next connection that came to the Host.
func (h *fakeHost) next(t *testing.T) hostConn {
	t.Helper()
	select {
	case c := <-h.asked:
		t.Cleanup(func() { c.Close() })
		return c
	case <-time.After(patience):
		t.Fatal("nobody connects to the Host")
		return hostConn{}
	}
}

// tcpPair is two ends of a TCP connection, which has half-closes and resets.
func tcpPair() (a, b *net.TCPConn, err error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	d, err := l.Accept()
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return c.(*net.TCPConn), d.(*net.TCPConn), nil
}

// A logBook is what was logged.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// count is the number of lines with a text.
func (b *logBook) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for line := range strings.Lines(b.buf.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func startFake(t *testing.T, n *fakeNetwork, h *fakeHost, log *slog.Logger) *Services {
	t.Helper()
	s, err := start(t.Context(), Config{Log: log, Dial: h.dial}, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// readAll is all until the end of a connection.
func readAll(t *testing.T, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, c io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func sorted[T any](s []T, text func(T) string) []string {
	var out []string
	for _, v := range s {
		out = append(out, text(v))
	}
	slices.Sort(out)
	return out
}
