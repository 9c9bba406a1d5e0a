package vsockproxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/guest/vsockproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A world is a proxy at work, between a scripted enclave and a scripted service.
type world struct {
	listener *pipeListener
	servers  chan *pipeConn // the service's ends, in order
	log      bytes.Buffer   // to be read after stop
	cancel   context.CancelFunc
	served   chan error
}

// start runs a proxy to kms:443. What the configuration leaves open is completed.
func start(t *testing.T, cfg vsockproxy.Config) *world {
	t.Helper()
	w := &world{listener: newPipeListener(), servers: make(chan *pipeConn, 100), served: make(chan error, 1)}
	if cfg.Remote.Host == "" {
		cfg.Remote = vsockproxy.Endpoint{Host: "kms", Port: 443}
	}
	if cfg.Resolve == nil {
		cfg.Resolve = (&names{table: map[string][]string{"kms": {"192.0.2.1"}}}).resolve
	}
	if cfg.Dial == nil {
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := pipe()
			w.servers <- theirs
			return ours, nil
		}
	}
	cfg.Log = slog.New(slog.NewTextHandler(&w.log, nil))
	p, err := vsockproxy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.cancel = cancel
	go func() { w.served <- p.Serve(ctx, w.listener) }()
	return w
}

// stop ends the proxy. It must end without an error.
func (w *world) stop(t *testing.T) {
	t.Helper()
	w.cancel()
	if err := <-w.served; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

// say writes and reads what comes out at the other end.
func say(t *testing.T, from, to *pipeConn, text string) {
	t.Helper()
	go io.WriteString(from, text)
	b := make([]byte, len(text))
	if _, err := io.ReadFull(to, b); err != nil || string(b) != text {
		t.Errorf("said %q, arrived %q, %v", text, b, err)
	}
}

func wantRead(t *testing.T, c *pipeConn, want error) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, want) {
		t.Errorf("read %d bytes, %v; want %v", n, err, want)
	}
}

func TestProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, vsockproxy.Config{})
		enclave := w.listener.connect(t)
		service := <-w.servers
		for range 3 {
			say(t, enclave, service, "request")
			say(t, service, enclave, "answer")
		}
		// Nothing moves for a long time: the connection stays.
		time.Sleep(24 * time.Hour)
		say(t, enclave, service, "request")
		say(t, service, enclave, "answer")

		service.Close()
		wantRead(t, enclave, io.EOF)
		enclave.Close()
		w.stop(t)
		if log := w.log.String(); !strings.Contains(log, "msg=connected") || !strings.Contains(log, "msg=disconnected") || strings.Contains(log, "request") {
			t.Errorf("log:\n%s", log)
		}
	})
}

// One side ends its direction; the other direction goes on. AWS's program ends both.
func TestHalfClose(t *testing.T) {
	for _, enclaveFirst := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, vsockproxy.Config{})
			first, second := w.listener.connect(t), <-w.servers
			if !enclaveFirst {
				first, second = second, first
			}
			say(t, first, second, "request")
			first.CloseWrite()
			wantRead(t, second, io.EOF)
			// An answer that takes its time, and is long.
			for range 10 {
				time.Sleep(119 * time.Second)
				say(t, second, first, "answer")
			}
			second.CloseWrite()
			wantRead(t, first, io.EOF)
			w.stop(t)
		})
	}
}

// Who does not end its direction after the other's end does not hold a worker for
// ever.
func TestHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, vsockproxy.Config{Workers: 1})
		enclave := w.listener.connect(t)
		service := <-w.servers
		enclave.CloseWrite()
		wantRead(t, service, io.EOF)
		begin := time.Now()
		wantRead(t, enclave, syscall.ECONNRESET)
		if took := time.Since(begin); took != 2*time.Minute {
			t.Errorf("cut after %v", took)
		}
		// The worker is free.
		enclave = w.listener.connect(t)
		say(t, enclave, <-w.servers, "request")
		w.stop(t)
	})
}

// A connection that breaks on one side breaks on the other: the end of a stream would
// look like the end of the data.
func TestReset(t *testing.T) {
	for _, enclaveBreaks := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, vsockproxy.Config{})
			broken, other := w.listener.connect(t), <-w.servers
			if !enclaveBreaks {
				broken, other = other, broken
			}
			say(t, broken, other, "half of it")
			broken.SetLinger(0)
			broken.Close()
			wantRead(t, other, syscall.ECONNRESET)
			w.stop(t)
		})
	}
}

// One direction is full because nobody reads; the other still moves.
func TestOverloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, vsockproxy.Config{})
		enclave := w.listener.connect(t)
		service := <-w.servers
		flooded := make(chan error, 1)
		go func() {
			_, err := service.Write(make([]byte, 1<<20))
			flooded <- err
		}()
		synctest.Wait()
		for range 100 {
			say(t, enclave, service, "request")
		}
		w.stop(t)
		if err := <-flooded; err == nil {
			t.Error("a megabyte went to nobody")
		}
	})
}

// There are as many connections at once as workers. The next one waits.
func TestWorkers(t *testing.T) {
	for _, workers := range []int{0, 1, 7} {
		synctest.Test(t, func(t *testing.T) {
			want := workers
			if want == 0 {
				want = vsockproxy.DefaultWorkers
			}
			w := start(t, vsockproxy.Config{Workers: workers})
			var enclaves []*pipeConn
			for range want {
				enclaves = append(enclaves, w.listener.connect(t))
			}
			late := make(chan *pipeConn)
			go func() { late <- w.listener.connect(t) }()
			synctest.Wait()
			if n := len(w.servers); n != want {
				t.Errorf("%d connections with %d workers", n, want)
			}
			select {
			case <-late:
				t.Fatal("one more was accepted")
			default:
			}
			enclaves[0].Close()
			(<-w.servers).Close()
			<-late
			synctest.Wait()
			if n := len(w.servers); n != want {
				t.Errorf("%d connections after one ended", n)
			}
			w.stop(t)
		})
	}
}

func TestNewRefuses(t *testing.T) {
	kms := vsockproxy.Endpoint{Host: "kms", Port: 443}
	tests := []struct {
		cfg  vsockproxy.Config
		want string
	}{
		{vsockproxy.Config{}, `remote host is ""; allowed are names and addresses of up to 253 characters`},
		{vsockproxy.Config{Remote: vsockproxy.Endpoint{Host: strings.Repeat("a", 254), Port: 1}}, "remote host is"},
		{vsockproxy.Config{Remote: vsockproxy.Endpoint{Host: "kms"}}, "remote port is 0; allowed are 1 to 65535"},
		{vsockproxy.Config{Remote: kms, Workers: -1}, "number of workers is -1; allowed are 1 to 4096"},
		{vsockproxy.Config{Remote: kms, Workers: 4097}, "number of workers is 4097"},
		{vsockproxy.Config{Remote: kms, Family: 3}, "family is Family(3); allowed are Any, IPv4 and IPv6"},
	}
	for _, tt := range tests {
		if p, err := vsockproxy.New(tt.cfg); p != nil || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("New = %v, %v; want %q", p, err, tt.want)
		}
	}
}
