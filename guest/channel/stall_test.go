package channel

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/ask"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// Everything here runs on the clock of a bubble, over net.Pipe, which keeps no byte:
// who does not read stops who writes.

// expires runs an operation that must fail at its deadline, after want.
func expires(t *testing.T, want time.Duration, is error, do func() error) {
	t.Helper()
	start := time.Now()
	err := do()
	if took := time.Since(start); !errors.Is(err, is) || took != want {
		t.Errorf("error %v after %v, want %v after %v", err, took, is, want)
	}
}

// closed checks that the other end of a connection is.
func closed(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetDeadline(time.Now().Add(time.Minute))
	if n, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("%d bytes and %v; want a closed connection", n, err)
	}
}

func TestClientTimesOut(t *testing.T) {
	after := func(answer func(*tls.Conn)) func(*testing.T, net.Conn) {
		return func(t *testing.T, c net.Conn) {
			session := tls.Server(c, tlsServer(t, newKey(t)))
			if _, err := ask.ReadQuestion(session); err != nil {
				t.Error(err)
			}
			answer(session)
		}
	}
	tests := []struct {
		name string
		far  func(*testing.T, net.Conn)
	}{
		{"reads nothing", func(*testing.T, net.Conn) {}},
		{"says nothing", func(_ *testing.T, c net.Conn) { io.Copy(io.Discard, c) }},
		{"does not read the nonce", func(t *testing.T, c net.Conn) {
			if err := tls.Server(c, tlsServer(t, newKey(t))).Handshake(); err != nil {
				t.Error(err)
			}
		}},
		{"does not answer", after(func(*tls.Conn) {})},
		{"half an answer", after(func(s *tls.Conn) { s.Write([]byte{0, 0, 0x10, 0, 0xd2}) })},
		{"a byte now and then", after(func(s *tls.Conn) {
			s.Write([]byte{0, 0, 0x10, 0})
			for {
				if _, err := s.Write([]byte{0}); err != nil {
					return
				}
				time.Sleep(7 * time.Second)
			}
		})},
	}
	for _, test := range tests {
		for _, timeout := range []time.Duration{0, 3 * time.Second} {
			t.Run(test.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLab(t, 1)
					near, far := net.Pipe()
					var group sync.WaitGroup
					group.Go(func() { test.far(t, far) })
					want := timeout
					if want == 0 {
						want = DefaultTimeout
					}
					expires(t, want, context.DeadlineExceeded, func() error {
						_, err := Client(context.Background(), near, Config{Options: l.options, Timeout: timeout})
						return err
					})
					group.Wait()
					closed(t, far)
				})
			})
		}
	}
}

func TestServerTimesOut(t *testing.T) {
	after := func(then func(*tls.Conn)) func(*testing.T, net.Conn) {
		return func(t *testing.T, c net.Conn) {
			session := tls.Client(c, clientTLS())
			if err := session.Handshake(); err != nil {
				t.Error(err)
			}
			then(session)
		}
	}
	tests := []struct {
		name string
		near func(*testing.T, net.Conn)
	}{
		{"says nothing", func(*testing.T, net.Conn) {}},
		{"no nonce", after(func(*tls.Conn) {})},
		{"half a nonce", after(func(s *tls.Conn) { s.Write([]byte{0, 0, 0, nonceSize, 1, 2}) })},
		{"does not read the document", after(func(s *tls.Conn) { ask.WriteQuestion(s, make([]byte, nonceSize)) })},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, newLab(t, 1).source(t, goodPCR), nil)
				near, far := net.Pipe()
				var group sync.WaitGroup
				group.Go(func() { test.near(t, near) })
				expires(t, DefaultTimeout, context.DeadlineExceeded, func() error {
					_, err := s.Handshake(context.Background(), far)
					return err
				})
				group.Wait()
				closed(t, near)
			})
		})
	}
}

// TestSlowSource: a document that comes too late is not sent.
func TestSlowSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1)
		source := l.source(t, goodPCR)
		s := newServer(t, func(r wire.Attestation) ([]byte, error) {
			time.Sleep(12 * time.Second)
			return source(r)
		}, &ServerConfig{Timeout: 10 * time.Second})
		near, far := net.Pipe()
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := Client(context.Background(), near, Config{Options: l.options}); err == nil {
				t.Error("the client has a session")
			}
		})
		expires(t, 12*time.Second, context.DeadlineExceeded, func() error {
			_, err := s.Handshake(context.Background(), far)
			return err
		})
		group.Wait()
	})
}

// piped are both ends of a session over net.Pipe.
func piped(t *testing.T) (client, server *Conn) {
	l := newLab(t, 1)
	s := newServer(t, l.source(t, goodPCR), nil)
	near, far := net.Pipe()
	var group sync.WaitGroup
	group.Go(func() {
		var err error
		if server, err = s.Handshake(context.Background(), far); err != nil {
			t.Error(err)
		}
	})
	client, err := Client(context.Background(), near, Config{Options: l.options})
	if err != nil {
		t.Fatal(err)
	}
	group.Wait()
	t.Cleanup(func() { near.Close(); far.Close() })
	return client, server
}

// TestFramesTimeOut: an operation ends with its context, by deadline and by cancel.
func TestFramesTimeOut(t *testing.T) {
	operations := map[string]func(context.Context, *Conn) error{
		"send":    func(ctx context.Context, c *Conn) error { return c.Send(ctx, make([]byte, 1000)) },
		"receive": func(ctx context.Context, c *Conn) error { _, err := c.Receive(ctx); return err },
	}
	for name, do := range operations {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := piped(t)
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				expires(t, 5*time.Second, context.DeadlineExceeded, func() error { return do(ctx, client) })
				ctx, cancel = context.WithCancel(context.Background())
				time.AfterFunc(2*time.Second, cancel)
				expires(t, 2*time.Second, context.Canceled, func() error { return do(ctx, server) })
			})
		})
	}
	// Half a frame holds nobody up either.
	synctest.Test(t, func(t *testing.T) {
		client, server := piped(t)
		go server.tls.Write([]byte{0, 0, 1, 0, 'a'})
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		expires(t, 5*time.Second, context.DeadlineExceeded, func() error { _, err := client.Receive(ctx); return err })
	})
}

// TestDeadlinesDoNotLast: neither that of the set-up nor that of one operation, nor
// a context that ends after it, touches the next operation.
func TestDeadlinesDoNotLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := piped(t)
		exchange := func(ctx context.Context) {
			t.Helper()
			var group sync.WaitGroup
			group.Go(func() {
				if err := client.Send(ctx, []byte("text")); err != nil {
					t.Error(err)
				}
			})
			if frame, err := server.Receive(ctx); string(frame) != "text" || err != nil {
				t.Errorf("received %q, %v", frame, err)
			}
			group.Wait()
		}
		time.Sleep(2 * DefaultTimeout)
		exchange(context.Background())
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		exchange(ctx)
		cancel()
		time.Sleep(time.Minute)
		exchange(context.Background())
	})
}

// TestTurns: who waits for his turn waits no longer than his context, and neither he
// nor who works the other way disturbs who has it.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := piped(t)
		short, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() { // until the server reads
			if err := client.Send(context.Background(), []byte("first")); err != nil {
				t.Error(err)
			}
		})
		group.Go(func() {
			if frame, err := client.Receive(context.Background()); string(frame) != "answer" || err != nil {
				t.Errorf("received %q, %v", frame, err)
			}
		})
		synctest.Wait()
		var late sync.WaitGroup
		late.Go(func() {
			expires(t, time.Second, context.DeadlineExceeded, func() error { return client.Send(short, []byte("second")) })
		})
		late.Go(func() {
			expires(t, time.Second, context.DeadlineExceeded, func() error { _, err := client.Receive(short); return err })
		})
		late.Wait()
		if frame, err := server.Receive(context.Background()); string(frame) != "first" || err != nil {
			t.Errorf("received %q, %v", frame, err)
		}
		if err := server.Send(context.Background(), []byte("answer")); err != nil {
			t.Error(err)
		}
		group.Wait()
	})
	// A receive that ends at its deadline leaves a send alone.
	synctest.Test(t, func(t *testing.T) {
		client, server := piped(t)
		short, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() {
			if err := client.Send(context.Background(), []byte("text")); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		expires(t, time.Second, context.DeadlineExceeded, func() error { _, err := client.Receive(short); return err })
		if frame, err := server.Receive(context.Background()); string(frame) != "text" || err != nil {
			t.Errorf("received %q, %v", frame, err)
		}
		group.Wait()
	})
}
