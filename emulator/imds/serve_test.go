package imds

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// limit bounds every wait. It is never used up unless the test fails.
const limit = 20 * time.Second

// served is a service on a TCP port, and how Serve ends.
func served(t *testing.T, change ...func(*Config)) (addr string, end func() error) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := service(t, change...)
	go func() { done <- s.Serve(ctx, l) }()
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

// raw sends bytes and returns all that comes back.
func raw(t *testing.T, addr, text string) string {
	t.Helper()
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(limit))
	_, _ = io.WriteString(c, text) // it may be refused before its end
	b, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%.40q: no end after %q", text, b)
	}
	return string(b)
}

// What is no good HTTP is refused, and the service goes on.
func TestHostileRequests(t *testing.T) {
	addr, _ := served(t)
	const end = "\r\nConnection: close\r\n\r\n"
	tests := []struct{ name, send, want string }{
		{"item without a token", "GET /latest/ HTTP/1.1\r\nHost: x" + end, "HTTP/1.1 401 "},
		{"HTTP/1.0", "PUT /latest/api/token HTTP/1.0\r\n" + ttlHeader + ": 60\r\n\r\n", "HTTP/1.0 200 "},
		{"escaped slash", "GET /latest%2f..%2f HTTP/1.1\r\nHost: x" + end, "HTTP/1.1 401 "},
		{"long header", "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 64<<10) + end, "HTTP/1.1 431 "},
		{"long path", "GET /" + strings.Repeat("y", 64<<10) + " HTTP/1.1\r\nHost: x" + end, "HTTP/1.1 431 "},
		{"line feed in a header", "GET / HTTP/1.1\r\nHost: x\r\n" + tokenHeader + ": a\nb: c" + end, "HTTP/1.1 401 "},
		{"two lengths", "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2" + end, "HTTP/1.1 400 "},
		{"giant body announced", "PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n" + ttlHeader + ": 60" + end, "HTTP/1.1 200 "},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "HTTP/1.1 400 "},
		{"proxy", "CONNECT kms.us-east-1.amazonaws.com:443 HTTP/1.1\r\nHost: x" + end, "HTTP/1.1 405 "},
		{"no such protocol", "GET / HTTP/9.9\r\nHost: x" + end, "HTTP/1.1 505 "},
		{"nothing", "\r\n\r\n\r\n\r\n", "HTTP/1.1 400 "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := raw(t, addr, tt.send); !strings.HasPrefix(got, tt.want) {
				t.Errorf("answer %.200q, want %q", got, tt.want)
			}
		})
	}
	if got := raw(t, addr, "PUT /latest/api/token HTTP/1.1\r\nHost: x\r\n"+ttlHeader+": 60"+end); !strings.Contains(got, "\r\n\r\nAQAAA") {
		t.Errorf("after all that: %q", got)
	}
}

// Serve ends with its context, with a request under way and an idle connection.
func TestServeEnds(t *testing.T) {
	asked := make(chan struct{})
	addr, end := served(t, func(c *Config) {
		c.V1 = true
		c.Credentials = func(ctx context.Context) (Credentials, error) {
			close(asked)
			<-ctx.Done()
			return Credentials{}, ctx.Err()
		}
	})
	idle, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	busy, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if _, err := io.WriteString(busy, "GET /latest/meta-data/iam/security-credentials/parent HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-asked:
	case <-time.After(limit):
		t.Fatal("nobody asked for credentials")
	}
	if err := end(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	for name, c := range map[string]net.Conn{"idle": idle, "busy": busy} {
		c.SetDeadline(time.Now().Add(limit))
		// The busy one may get to know that there are no credentials.
		if b, err := io.ReadAll(c); strings.Contains(string(b), "Success") || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %q, %v, want the end", name, b, err)
		}
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
	if err := service(t).Serve(t.Context(), broken{l}); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("error %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v, want closed", err)
	}
}

// pipes accepts what a test gives it, in a bubble of synctest.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// Clients that take their time are given up.
func TestSlowClients(t *testing.T) {
	const get = "GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: x\r\n"
	tests := []struct {
		name, send string
		answer     bool // is read
		after      time.Duration
	}{
		{"says nothing", "", false, headerTimeout},
		{"stops in a header", get + "X: y", false, headerTimeout},
		{"keeps a connection", get + "\r\n", true, idleTimeout},
		{"takes no answer", get + "\r\n", false, requestTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := service(t, func(c *Config) { c.V1 = true })
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
				done := make(chan error, 1)
				go func() { done <- s.Serve(ctx, l) }()
				ours, theirs := net.Pipe()
				watched := &watchedConn{Conn: theirs, closed: make(chan struct{})}
				l.conns <- watched
				began := time.Now()
				if _, err := io.WriteString(ours, tt.send); err != nil {
					t.Error(err)
				}
				if tt.answer {
					r, err := http.ReadResponse(bufio.NewReader(ours), nil)
					if err != nil || r.StatusCode != http.StatusOK {
						t.Errorf("answer %v, %v", r, err)
					} else {
						io.Copy(io.Discard, r.Body)
						r.Body.Close()
					}
				}
				<-watched.closed
				// The server waits half a second before it closes after an answer.
				if took := time.Since(began); took < tt.after || took > tt.after+time.Second {
					t.Errorf("given up after %v, want %v", took, tt.after)
				}
				cancel()
				if err := <-done; err != nil {
					t.Errorf("Serve: %v", err)
				}
				ours.Close()
			})
		})
	}
}

// A watchedConn tells of its end.
type watchedConn struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

func (c *watchedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
