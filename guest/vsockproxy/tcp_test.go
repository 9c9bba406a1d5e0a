package vsockproxy_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/guest/vsockproxy"
)

// On real sockets: a megabyte each way at once, and the half-close of TCP.
func TestTCP(t *testing.T) {
	address, stop := tcpProxy(t)
	defer stop()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		if _, err := c.Write(want); err == nil {
			c.(*net.TCPConn).CloseWrite()
		}
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d came back, %v", len(got), len(want), err)
	}
}

// tcpProxy is a proxy to an echo service, on the loopback.
func tcpProxy(tb testing.TB) (address string, stop func()) {
	tb.Helper()
	service, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	go func() {
		for {
			c, err := service.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	port := service.Addr().(*net.TCPAddr).AddrPort().Port()
	p, err := vsockproxy.New(vsockproxy.Config{Remote: vsockproxy.Endpoint{Host: "127.0.0.1", Port: port}})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- p.Serve(ctx, l) }()
	return l.Addr().String(), func() {
		cancel()
		if err := <-served; err != nil {
			tb.Errorf("Serve = %v", err)
		}
		if err := service.Close(); err != nil {
			tb.Error(err)
		}
	}
}

// A request and an answer of 32 KiB through both directions.
func BenchmarkProxy(b *testing.B) {
	address, stop := tcpProxy(b)
	defer stop()
	c, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 32<<10)
	b.SetBytes(int64(2 * len(buf)))
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
