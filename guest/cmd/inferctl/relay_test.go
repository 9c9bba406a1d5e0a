package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/guest/internal/accept/accepttest"
)

// A relay runs until end is called, which says how it ended.
type relay struct {
	*accepttest.Socket
	end func() (code int, stderr string)
}

func startRelay(t *testing.T, dial func(ctx context.Context, cid, port uint32) (net.Conn, error)) relay {
	t.Helper()
	s := accepttest.New()
	w := world{dial: dial, listen: func(port uint32) (net.Listener, error) {
		if port != 7000 {
			t.Errorf("it listens on port %d", port)
		}
		return s, nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"relay", "--cid", "16", "--listen", "7000"}, w, io.Discard, &stderr)
	}()
	return relay{s, func() (int, string) {
		cancel()
		return <-code, stderr.String()
	}}
}

// echo is an enclave that says where it was reached, and then what it hears.
func echo(_ context.Context, cid, port uint32) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		if cid == 16 && port == ports.Inference {
			io.WriteString(theirs, "hello ")
		}
		io.Copy(theirs, theirs)
	}()
	return ours, nil
}

func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Errorf("read %q, %v; want %q", got, err, want)
	}
}

// Clients reach the enclave, several at a time, until the relay is told to end.
func TestRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRelay(t, echo)
		first, second := r.Connect(), r.Connect()
		for _, c := range []net.Conn{first, second} {
			expect(t, c, "hello ")
		}
		for _, text := range []string{"one", "two", "three"} {
			for _, c := range []net.Conn{second, first} {
				if _, err := io.WriteString(c, text); err != nil {
					t.Fatal(err)
				}
				expect(t, c, text)
			}
		}
		first.Close()
		code, stderr := r.end()
		if code != 0 || stderr != "inferctl: vsock port 7000 leads to enclave 16\n" {
			t.Errorf("exit code %d, standard error %q", code, stderr)
		}
		if _, err := second.Read(make([]byte, 1)); err == nil {
			t.Error("a connection goes on")
		}
		if _, err := r.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("it listens: %v", err)
		}
	})
}

// A client that comes before the enclave listens waits, and one for which it never
// does is turned away after a minute; the next one is served.
func TestRelayWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var until time.Time
		r := startRelay(t, func(ctx context.Context, cid, port uint32) (net.Conn, error) {
			if time.Now().Before(until) {
				return nil, syscall.ECONNRESET
			}
			return echo(ctx, cid, port)
		})
		until = time.Now().Add(10 * time.Second)
		c := r.Connect()
		before := time.Now()
		expect(t, c, "hello ")
		if took := time.Since(before); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("served after %v", took)
		}
		c.Close()

		until = time.Now().Add(time.Hour)
		c = r.Connect()
		before = time.Now()
		if _, err := c.Read(make([]byte, 1)); err != io.EOF || time.Since(before) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(before))
		}
		until = time.Time{}
		c = r.Connect()
		expect(t, c, "hello ")
		c.Close()

		// Told to end, it does not wait for an enclave.
		until = time.Now().Add(time.Hour)
		r.Connect()
		synctest.Wait()
		before = time.Now()
		if code, stderr := r.end(); code != 0 || time.Since(before) > time.Second {
			t.Errorf("exit code %d after %v, standard error %q", code, time.Since(before), stderr)
		}
	})
}

// More clients than it carries at a time wait.
func TestRelayIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRelay(t, echo)
		var last net.Conn
		for range maxClients {
			last = r.Connect()
			expect(t, last, "hello ")
		}
		ours, theirs := net.Pipe()
		select {
		case r.Conns <- theirs:
			t.Fatal("it carries one more")
		case <-time.After(time.Minute):
		}
		last.Close()
		r.Conns <- theirs
		expect(t, ours, "hello ")
		if code, _ := r.end(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
}

func TestRelayFails(t *testing.T) {
	var stderr bytes.Buffer
	w := world{listen: func(uint32) (net.Listener, error) { return nil, syscall.EADDRINUSE }}
	if code := run(t.Context(), []string{"relay", "--cid", "16"}, w, io.Discard, &stderr); code != 1 || stderr.String() != "inferctl: listen on vsock port 5443: address already in use\n" {
		t.Errorf("exit code %d, standard error %q", code, &stderr)
	}
	synctest.Test(t, func(t *testing.T) {
		r := startRelay(t, echo)
		c := r.Connect()
		expect(t, c, "hello ")
		r.Fails <- errors.New("vsock is gone")
		synctest.Wait()
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection goes on")
		}
		if code, stderr := r.end(); code != 1 || !strings.Contains(stderr, "inferctl: vsock is gone\n") {
			t.Errorf("exit code %d, standard error %q", code, stderr)
		}
	})
}
