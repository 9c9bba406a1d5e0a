package linklocal

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
)

const (
	imdsAt     = "169.254.169.254:80"
	dnsAt      = "169.254.169.253:53"
	servicesAt = "172.31.255.250:443"
)

// Each address leads to its port, both ways, and the end of one direction is not
// that of the other.
func TestStreams(t *testing.T) {
	n, h := newFakeNetwork(), newFakeHost()
	startFake(t, n, h, nil)
	want := []string{"169.254.169.253", "169.254.169.254", "172.31.255.250"}
	if diff := cmp.Diff(want, sorted(n.addrs, netip.Addr.String)); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	for at, port := range map[string]uint32{imdsAt: ports.IMDS, dnsAt: ports.DNS, servicesAt: ports.AWS} {
		c := n.connect(t, at)
		host := h.next(t)
		if host.port != port {
			t.Errorf("%s leads to port %d, want %d", at, host.port, port)
		}
		write(t, c, "request")
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, host); got != "request" {
			t.Errorf("%s: the Host got %q", at, got)
		}
		write(t, host, strings.Repeat("answer", 100_000))
		host.Close()
		if got := readAll(t, c); got != strings.Repeat("answer", 100_000) {
			t.Errorf("%s: %d bytes came back", at, len(got))
		}
	}
}

// Many connections at once do not wait for each other, up to the limit; then the
// next one waits for a place.
func TestLimit(t *testing.T) {
	n, h := newFakeNetwork(), newFakeHost()
	startFake(t, n, h, nil)
	var conns []hostConn
	for range maxConns {
		n.connect(t, imdsAt)
		conns = append(conns, h.next(t))
	}
	one := n.connect(t, imdsAt)
	write(t, one, "late")
	select {
	case <-h.asked:
		t.Fatal("a connection over the limit was carried")
	case <-time.After(50 * time.Millisecond):
	}
	n.connect(t, servicesAt) // another service has a limit of its own
	if c := h.next(t); c.port != ports.AWS {
		t.Fatalf("port %d", c.port)
	}
	conns[7].SetLinger(0)
	conns[7].Close()
	b := make([]byte, 4)
	if _, err := io.ReadFull(h.next(t), b); err != nil || string(b) != "late" {
		t.Errorf("read %q, %v", b, err)
	}
}

// A program whose connection the Host does not take sees that at once. The log says
// it once, and when it is over.
func TestHostOutOfReach(t *testing.T) {
	n, h, log := newFakeNetwork(), newFakeHost(), &logBook{}
	startFake(t, n, h, log.logger())
	h.fail(&net.OpError{Op: "dial", Net: "vsock", Err: syscall.ENODEV})
	for range 3 {
		// The reset may be there before connect(2) has looked.
		c, err := net.Dial("tcp4", n.streams[netip.MustParseAddrPort(servicesAt)].Addr().String())
		if err == nil {
			c.SetDeadline(time.Now().Add(patience))
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("error %v, want a reset", err)
		}
	}
	h.fail(nil)
	for range 2 {
		c := n.connect(t, servicesAt)
		h.next(t).Close()
		readAll(t, c)
	}
	if got := log.count("out of reach"); got != 1 {
		t.Errorf("%d lines say that the service is out of reach", got)
	}
	if got := log.count("in reach again"); got != 1 {
		t.Errorf("%d lines say that it is in reach", got)
	}
}

// What one side breaks off, the other does not take for the end.
func TestReset(t *testing.T) {
	n, h := newFakeNetwork(), newFakeHost()
	startFake(t, n, h, nil)
	c := n.connect(t, imdsAt)
	host := h.next(t)
	write(t, host, "half of an ans")
	b := make([]byte, 14)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	host.SetLinger(0)
	host.Close()
	if _, err := c.Read(b); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want a reset", err)
	}
}

// Close, and the end of the context, cut what is open.
func TestClose(t *testing.T) {
	for name, end := range map[string]func(*Services, context.CancelFunc){
		"close":   func(s *Services, _ context.CancelFunc) { s.Close() },
		"context": func(s *Services, cancel context.CancelFunc) { cancel(); s.wg.Wait() },
	} {
		t.Run(name, func(t *testing.T) {
			n, h := newFakeNetwork(), newFakeHost()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s, err := start(ctx, Config{Dial: h.dial}, n)
			if err != nil {
				t.Fatal(err)
			}
			c := n.connect(t, imdsAt)
			host := h.next(t)
			end(s, cancel)
			for _, c := range []net.Conn{c, host} {
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("read: %v, want a reset", err)
				}
			}
			for at, l := range n.streams {
				if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("%v: accept: %v, want closed", at, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Errorf("second close: %v", err)
			}
		})
	}
}

// A start that fails leaves nothing.
func TestStartFails(t *testing.T) {
	for _, call := range []string{"addresses", "tcp " + imdsAt, "tcp " + dnsAt, "udp " + dnsAt, "tcp " + servicesAt} {
		n := newFakeNetwork()
		n.fail = call
		s, err := start(t.Context(), Config{}, n)
		if s != nil || !errors.Is(err, errFake) || !strings.HasPrefix(err.Error(), "link-local services: ") {
			t.Errorf("%s: %v, %v", call, s, err)
		}
		for at, l := range n.streams {
			if l == nil {
				continue
			}
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: accept at %v: %v, want closed", call, at, err)
			}
		}
	}
}

// A listener whose accept fails for a while.
type stumbling struct {
	net.Listener
	fails int
}

func (s *stumbling) Accept() (net.Conn, error) {
	if s.fails > 0 {
		s.fails--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return s.Listener.Accept()
}

// Running out of files is not the end of a service.
func TestAcceptFails(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h, log := newFakeHost(), &logBook{}
	ctx, cancel := context.WithCancel(t.Context())
	s := &Services{log: log.logger(), dial: h.dial, cancel: cancel}
	t.Cleanup(func() { s.Close() })
	r := &relay{Services: s, name: "test", port: 7}
	s.wg.Go(func() { r.stream(ctx, &stumbling{l, 2}) })
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := h.next(t).port; got != 7 {
		t.Errorf("port %d", got)
	}
	if got := log.count("accept failed"); got != 2 {
		t.Errorf("%d lines", got)
	}
}

// The table of services is complete: whatever is at DNS's address takes datagrams.
func TestServices(t *testing.T) {
	var datagrams []string
	for _, v := range services {
		if v.datagrams {
			datagrams = append(datagrams, v.addr.String())
		}
	}
	if !slices.Equal(datagrams, []string{dnsAt}) {
		t.Errorf("datagrams are taken at %v", datagrams)
	}
}

func BenchmarkStream(b *testing.B) {
	n := newFakeNetwork()
	dial := func(context.Context, uint32) (net.Conn, error) {
		ours, theirs, err := tcpPair()
		if err == nil {
			go func() { io.Copy(theirs, theirs); theirs.Close() }()
		}
		return ours, err
	}
	s, err := start(b.Context(), Config{Dial: dial}, n)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	c, err := net.Dial("tcp4", n.streams[netip.MustParseAddrPort(servicesAt)].Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 16<<10)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
}
