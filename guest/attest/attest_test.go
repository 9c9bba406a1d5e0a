package attest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/devices/nsm/ask"
	"github.com/nitrolab/nitrolab/guest/attest"
)

const deadline = 20 * time.Second

// serve starts a server and returns a function that connects to it.
func serve(t *testing.T, source attest.Source) (dial func() net.Conn, stop func()) {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- attest.Serve(ctx, l, source, nil) }()
	stop = func() {
		t.Helper()
		cancel()
		select {
		case err := <-served:
			if err != nil {
				t.Errorf("Serve = %v", err)
			}
			served <- nil
		case <-time.After(deadline):
			t.Error("Serve did not end")
		}
	}
	t.Cleanup(stop)
	return func() net.Conn {
		t.Helper()
		c, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(deadline)); err != nil {
			t.Fatal(err)
		}
		return c
	}, stop
}

func echo(nonce []byte) ([]byte, error) {
	if len(nonce) == 0 {
		return nil, errors.New("no nonce")
	}
	return append([]byte("over "), nonce...), nil
}

func TestServe(t *testing.T) {
	dial, _ := serve(t, echo)
	// Two clients at once, several questions on each, one of them refused.
	a, b := dial(), dial()
	for _, tt := range []struct {
		c           net.Conn
		nonce, want string
	}{{a, "1", "over 1"}, {b, "2", "over 2"}, {a, "", ""}, {a, "3", "over 3"}, {b, "4", "over 4"}} {
		got, err := ask.Ask(tt.c, []byte(tt.nonce))
		var refused *ask.RefusedError
		if tt.want == "" {
			if !errors.As(err, &refused) || refused.Reason != "no nonce" {
				t.Errorf("nonce %q: error %v, want a refusal", tt.nonce, err)
			}
			continue
		}
		if err != nil || string(got) != tt.want {
			t.Errorf("nonce %q: %q, %v, want %q", tt.nonce, got, err, tt.want)
		}
	}
}

// A client that breaks the protocol loses its connection and no other.
func TestServeBadClient(t *testing.T) {
	dial, _ := serve(t, echo)
	bad, good := dial(), dial()
	if _, err := bad.Write([]byte{0xff, 0xff, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	if n, err := bad.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read %d bytes, %v, want end of stream", n, err)
	}
	if _, err := ask.Ask(good, []byte("x")); err != nil {
		t.Error(err)
	}
}

// A document that does not fit is an error of this side, not of the client's.
func TestServeLargeDocument(t *testing.T) {
	dial, _ := serve(t, func([]byte) ([]byte, error) { return make([]byte, ask.MaxDocument+1), nil })
	if _, err := ask.Ask(dial(), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v, want end of stream", err)
	}
}

// The end of the context ends connections that wait for a question.
func TestServeEnds(t *testing.T) {
	dial, stop := serve(t, echo)
	c := dial()
	if _, err := ask.Ask(c, []byte("x")); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read: %v, want end of stream", err)
	}
}

func TestServeListenerFails(t *testing.T) {
	defer goleak.VerifyNone(t)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := attest.Serve(context.Background(), l, echo, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve = %v, want a closed listener", err)
	}
}
