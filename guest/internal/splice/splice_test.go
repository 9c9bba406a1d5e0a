package splice

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// pair is a TCP connection on this machine.
func pair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{c, s} {
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func TestHalfClose(t *testing.T) {
	client, a := pair(t)
	b, server := pair(t)
	joined := make(chan error, 1)
	go func() { joined <- Join(t.Context(), a, b) }()
	if _, err := client.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(server); err != nil || string(got) != "question" {
		t.Errorf("the server reads %q, %v", got, err)
	}
	if _, err := server.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	server.Close()
	if got, err := io.ReadAll(client); err != nil || string(got) != "answer" {
		t.Errorf("the client reads %q, %v", got, err)
	}
	if err := <-joined; err != nil {
		t.Error(err)
	}
}

// A part is not taken for the whole: who is cut off gets an error, not an end.
func TestCut(t *testing.T) {
	client, a := pair(t)
	b, server := pair(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	joined := make(chan error, 1)
	go func() { joined <- Join(ctx, a, b) }()
	if _, err := client.Write([]byte("part")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(server, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	because := errors.New("enough")
	cancel(because)
	if err := <-joined; !errors.Is(err, because) {
		t.Errorf("Join() = %v, want %v", err, because)
	}
	for name, c := range map[string]net.Conn{"client": client, "server": server} {
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the %s reads %v, want a reset", name, err)
		}
	}
}

// Whoever does not close its end after the other has does not keep the rest for ever.
func TestHalfOpenEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, a := halves()
		b, server := halves()
		joined := make(chan error, 1)
		began := time.Now()
		go func() { joined <- Join(t.Context(), a, b) }()
		client.Close()
		if err := <-joined; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Join() = %v, want %v", err, os.ErrDeadlineExceeded)
		}
		if d := time.Since(began); d != halfOpenTimeout {
			t.Errorf("ended after %v, want %v", d, halfOpenTimeout)
		}
		server.Close()
	})
}

// half is an end of a pipe that can be closed for writing, and then still be read.
type half struct{ net.Conn }

func (half) CloseWrite() error { return nil }

func halves() (a, b net.Conn) {
	x, y := net.Pipe()
	return half{x}, half{y}
}
