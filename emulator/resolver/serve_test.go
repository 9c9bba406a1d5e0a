package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
)

// limit bounds every wait. It is never used up unless the test fails.
const limit = 20 * time.Second

// served is a resolver on a TCP port, and how Serve ends.
func served(t *testing.T) (addr string, end func() error) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- New(zone.Lookup).Serve(ctx, l) }()
	end = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(limit):
			return errors.New("Serve did not return")
		}
	})
	t.Cleanup(func() { end() })
	return l.Addr().String(), end
}

// framed is a query on a stream.
func framed(t testing.TB, m dnsmessage.Message) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func connect(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(limit))
	return c
}

func next(t *testing.T, c net.Conn) string {
	t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(c, head); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint16(head))
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	return text(t, b)
}

// Go's own resolver, which is a client that nobody here wrote.
func TestStockClient(t *testing.T) {
	addr, _ := served(t)
	client := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp4", addr)
	}}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	got, err := client.LookupNetIP(ctx, "ip", "kms.us-east-1.amazonaws.com.")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"172.31.255.250"}, texts(got)); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	var missing *net.DNSError
	if got, err := client.LookupNetIP(ctx, "ip", "example.com."); !errors.As(err, &missing) || !missing.IsNotFound {
		t.Errorf("unknown name: %v, %v", got, err)
	}
}

func texts(addrs []netip.Addr) (out []string) {
	for _, a := range addrs {
		out = append(out, a.Unmap().String())
	}
	return out
}

// One connection has many queries, also such that came before their answers were
// read, and in pieces.
func TestManyQueries(t *testing.T) {
	addr, _ := served(t)
	c := connect(t, addr)
	q := framed(t, ask("both.test.", dnsmessage.TypeA))
	for _, piece := range [][]byte{append(append([]byte{}, q...), q...), q[:1], q[1:20], q[20:]} {
		if _, err := c.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if got := next(t, c); got != "Success ? both.test. A 10.0.0.1 10.0.0.2" {
			t.Errorf("answer %q", got)
		}
	}
}

// What is no query ends the connection, and no other.
func TestNoQuery(t *testing.T) {
	addr, _ := served(t)
	good := connect(t, addr)
	for name, bytes := range map[string]string{"nothing": "\x00\x00", "short": "\x00\x03abc", "HTTP": "GET / HTTP/1.1\r\n\r\n"} {
		c := connect(t, addr)
		if _, err := io.WriteString(c, bytes); err != nil {
			t.Fatal(err)
		}
		c.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(c); len(b) > 0 {
			t.Errorf("%s: answer %x, %v", name, b, err)
		}
	}
	if _, err := good.Write(framed(t, ask("empty.test.", dnsmessage.TypeA))); err != nil {
		t.Fatal(err)
	}
	if got := next(t, good); got != "Success ? empty.test. A" {
		t.Errorf("answer %q", got)
	}
}

// Serve ends with its context, whatever clients do.
func TestServeEnds(t *testing.T) {
	addr, end := served(t)
	c := connect(t, addr)
	if _, err := c.Write(framed(t, ask("empty.test.", dnsmessage.TypeA))); err != nil {
		t.Fatal(err)
	}
	next(t, c)
	began := time.Now()
	if err := end(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("Serve took %v to end: it waited for its client", took)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v, want the end", err)
	}
}

// broken is a listener that cannot accept.
type broken struct{ net.Listener }

func (broken) Accept() (net.Conn, error) { return nil, errors.New("broken") }

func TestServeFails(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := New(zone.Lookup).Serve(t.Context(), broken{l}); err == nil {
		t.Error("no error")
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v, want closed", err)
	}
}

// How conversations of one connection end.
func TestServeConn(t *testing.T) {
	q := framed(t, ask("empty.test.", dnsmessage.TypeA))
	tests := []struct {
		name string
		send []byte
		want error
	}{
		{"no query", nil, nil},
		{"whole query", q, nil},
		{"half a length", q[:1], io.ErrUnexpectedEOF},
		{"length alone", q[:2], io.ErrUnexpectedEOF},
		{"half a query", q[:10], io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			ours := connect(t, l.Addr().String())
			theirs, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- New(zone.Lookup).ServeConn(t.Context(), theirs) }()
			if _, err := ours.Write(tt.send); err != nil {
				t.Fatal(err)
			}
			if len(tt.send) == len(q) {
				next(t, ours)
			}
			ours.Close()
			if err := <-done; !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

// A client that says nothing, or takes no answer, is given up.
func TestSlowClients(t *testing.T) {
	q := framed(t, ask("empty.test.", dnsmessage.TypeA))
	for name, send := range map[string][]byte{"says nothing": nil, "stops in a query": q[:5], "takes no answer": q} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer ours.Close()
				done := make(chan error, 1)
				began := time.Now()
				go func() { done <- New(zone.Lookup).ServeConn(t.Context(), theirs) }()
				if len(send) > 0 {
					if _, err := ours.Write(send); err != nil {
						t.Fatal(err)
					}
				}
				if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != patience {
					t.Errorf("%v after %v, want the deadline after %v", err, time.Since(began), patience)
				}
			})
		})
	}
}
