package vsock

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// echo serves one TCP or unix address: it reads to the end and answers with
// what it read.
func echo(t *testing.T, network, addr string) net.Addr {
	t.Helper()
	l, err := net.Listen(network, addr)
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all, _ := io.ReadAll(c)
			_, _ = c.Write(all)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		must(t, l.Close())
		<-done
	})
	return l.Addr()
}

func runForward(t *testing.T, l net.Listener, dial func(context.Context) (net.Conn, error)) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Forward(ctx, l, dial) }()
	stop = func() error {
		cancel()
		return <-done
	}
	t.Cleanup(func() { cancel() })
	return stop
}

// From the guest to a socket of the host, with a half-close in the middle.
func TestForwardToHost(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			addr := "127.0.0.1:0"
			if network == "unix" {
				addr = filepath.Join(t.TempDir(), "echo")
			}
			target := echo(t, network, addr)
			l, dial := ends(t)
			stop := runForward(t, l, func(ctx context.Context) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, target.String())
			})
			c, err := dial(t.Context())
			must(t, err)
			must(t, c.SetDeadline(time.Now().Add(patience)))
			data := pattern(300_000)
			if _, err := c.Write(data); err != nil {
				t.Fatal(err)
			}
			must(t, c.CloseWrite())
			got, err := io.ReadAll(c)
			must(t, err)
			if !bytes.Equal(got, data) {
				t.Errorf("%d bytes came back, not those sent", len(got))
			}
			must(t, c.Close())
			must(t, stop())
		})
	}
}

// From a socket of the host into the guest.
func TestForwardToGuest(t *testing.T) {
	inGuest, dial := ends(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	stop := runForward(t, l, func(ctx context.Context) (net.Conn, error) { return dial(ctx) })
	c, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	must(t, c.SetDeadline(time.Now().Add(patience)))
	g := accept(t, inGuest)
	if _, err := c.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	wantRead(t, g, []byte("question"))
	if _, err := g.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	must(t, g.Close())
	got, err := io.ReadAll(c)
	must(t, err)
	if string(got) != "answer" {
		t.Errorf("got %q", got)
	}
	must(t, c.Close())
	must(t, stop())
}

// A target that refuses is a reset for the guest, not an empty answer.
func TestForwardDialFails(t *testing.T) {
	l, dial := ends(t)
	stop := runForward(t, l, func(context.Context) (net.Conn, error) { return nil, errors.New("no") })
	c, err := dial(t.Context())
	if err == nil {
		must(t, c.SetDeadline(time.Now().Add(patience)))
		_, err = c.Read(make([]byte, 1))
		wantErr(t, err, unix.ECONNRESET)
	} else {
		// The reset overtook the response.
		wantErr(t, err, unix.ECONNREFUSED)
	}
	must(t, stop())
}

// When the context ends, so does everything, with a reset on both sides.
func TestForwardEnds(t *testing.T) {
	l, dial := ends(t)
	far, near := net.Pipe()
	stop := runForward(t, l, func(context.Context) (net.Conn, error) { return near, nil })
	c, err := dial(t.Context())
	must(t, err)
	must(t, c.SetDeadline(time.Now().Add(patience)))
	go func() { _, _ = c.Write([]byte("x")) }()
	wantRead(t, far, []byte("x"))
	must(t, stop())
	_, err = c.Read(make([]byte, 1))
	wantErr(t, err, unix.ECONNRESET)
	wantEnd(t, far, io.EOF)
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("listener: %v", err)
	}
}

// A reset on one side is a reset on the other: nobody takes a part for the
// whole.
func TestSplicePassesResets(t *testing.T) {
	l, dial := ends(t)
	dialCtx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := dial(dialCtx)
	must(t, err)
	b := accept(t, l)

	l2, dial2 := ends(t)
	c, err := dial2(dialCtx)
	must(t, err)
	d := accept(t, l2)
	must(t, d.SetDeadline(time.Now().Add(patience)))

	done := make(chan error, 1)
	go func() { done <- Splice(t.Context(), b, c) }()
	if _, err := a.Write([]byte("part")); err != nil {
		t.Fatal(err)
	}
	wantRead(t, d, []byte("part"))
	must(t, a.SetLinger(0))
	must(t, a.Close())
	wantErr(t, <-done, unix.ECONNRESET)
	_, err = d.Read(make([]byte, 1))
	wantErr(t, err, unix.ECONNRESET)
}
