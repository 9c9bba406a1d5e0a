package forward

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait. It is never used up unless the test fails.
const patience = 20 * time.Second

// fakeVsock has an enclave that echoes on port 5005, greets on port 5006 and
// refuses others; what its parent listens on is a unix socket.
type fakeVsock struct {
	t   testing.TB
	dir string
}

func newVsock(t testing.TB) *fakeVsock { return &fakeVsock{t, t.TempDir()} }

func (f *fakeVsock) path(port uint32) string {
	return filepath.Join(f.dir, strconv.FormatUint(uint64(port), 10))
}

func (f *fakeVsock) Listen(port uint32) (net.Listener, error) {
	if port == 9000 {
		return nil, errors.New("port 9000 is the heartbeat's")
	}
	return net.Listen("unix", f.path(port))
}

func (f *fakeVsock) Dial(_ context.Context, port uint32) (net.Conn, error) {
	if port != 5005 && port != 5006 {
		return nil, errors.New("nobody listens")
	}
	l, err := net.Listen("unix", filepath.Join(f.t.TempDir(), "s"))
	if err != nil {
		return nil, err
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		return nil, err
	}
	guest, err := l.Accept()
	if err != nil {
		return nil, err
	}
	go func() {
		defer guest.Close()
		if port == 5006 { // ends its own direction first
			_, _ = guest.Write([]byte("greeting"))
			_ = guest.(*net.UnixConn).CloseWrite()
			_, _ = io.Copy(io.Discard, guest)
			return
		}
		if _, err := io.Copy(guest, guest); err == nil {
			_, _ = guest.Write([]byte(" bye")) // after the other side's end: half-closes come through
		}
	}()
	return c, nil
}

func parse(t testing.TB, text string) Spec {
	t.Helper()
	spec, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func start(t testing.TB, v Vsock, text string, log io.Writer) *Forward {
	t.Helper()
	f, err := Listen(v, parse(t, text))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	if log == nil {
		log = t.Output()
	}
	f.Start(slog.New(slog.NewTextHandler(log, nil)))
	return f
}

// ask sends text and its end, and returns all that comes back, or what went wrong.
func ask(network, address, text string) string {
	answer, err := exchange(network, address, text)
	if err != nil {
		return "error: " + err.Error()
	}
	return answer
}

func exchange(network, address, text string) (string, error) {
	c, err := net.Dial(network, address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return "", err
	}
	got, err := io.ReadAll(c)
	return string(got), err
}

func TestIntoTheEnclave(t *testing.T) {
	v := newVsock(t)
	t.Run("tcp", func(t *testing.T) {
		f := start(t, v, "tcp:127.0.0.1:0=vsock:5005", nil)
		if strings.Contains(f.String(), ":0=") {
			t.Errorf("forward is described as %s, without its port", f)
		}
		if got := ask("tcp", f.Spec().Listen.Address, "hello"); got != "hello bye" {
			t.Errorf("answer %q", got)
		}
		if f.Path() != "" {
			t.Errorf("path %s", f.Path())
		}
	})
	t.Run("unix", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a=b.sock")
		f := start(t, v, "unix:"+path+"=vsock:5005", nil)
		if got := ask("unix", path, "hello"); got != "hello bye" {
			t.Errorf("answer %q", got)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v; want one for the owner alone", info.Mode(), err)
		}
		if f.Path() != path {
			t.Errorf("path %s, want %s", f.Path(), path)
		}
		for range 2 {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
}

// A side that has said all it has to say can still listen.
func TestHalfClose(t *testing.T) {
	f := start(t, newVsock(t), "tcp:127.0.0.1:0=vsock:5006", nil)
	c, err := net.Dial("tcp", f.Spec().Listen.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "greeting" {
		t.Errorf("read %q, %v; want the greeting and its end", got, err)
	}
	if _, err := c.Write([]byte("still here")); err != nil {
		t.Error(err)
	}
}

func TestOutOfTheEnclave(t *testing.T) {
	v := newVsock(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var server sync.WaitGroup
	defer server.Wait()
	defer l.Close()
	server.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			got, _ := io.ReadAll(c)
			_, _ = c.Write(bytes.ToUpper(got))
			c.Close()
		}
	})
	start(t, v, "vsock:8001=tcp:"+l.Addr().String(), nil)
	if got := ask("unix", v.path(8001), "hello"); got != "HELLO" {
		t.Errorf("answer %q", got)
	}
}

// A connection that leads nowhere is cut, and the log says why.
func TestRefused(t *testing.T) {
	v := newVsock(t)
	var log bytes.Buffer
	f := start(t, v, "tcp:127.0.0.1:0=vsock:7", &log)
	if got := ask("tcp", f.Spec().Listen.Address, "x"); !strings.HasPrefix(got, "error: ") {
		t.Errorf("answer %q, want a reset", got)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"forward refused", f.String(), "nobody listens"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log has no %q:\n%s", want, &log)
		}
	}
}

func TestListenFails(t *testing.T) {
	v := newVsock(t)
	taken := filepath.Join(t.TempDir(), "taken")
	if err := os.WriteFile(taken, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"unix:" + taken + "=vsock:1":         "forward unix:" + taken + "=vsock:1: the path is taken; remove it if nothing uses it",
		"unix:/no/such/folder/s=vsock:1":     "no such file or directory",
		"tcp:256.0.0.1:1=vsock:1":            "256.0.0.1",
		"vsock:9000=tcp:127.0.0.1:1":         "port 9000 is the heartbeat's",
		"tcp:no.such.host.invalid:1=vsock:1": "forward tcp:no.such.host.invalid:1=vsock:1: ",
	} {
		f, err := Listen(v, parse(t, text))
		if err == nil {
			f.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen(%s) = %v, want %q", text, err, want)
		}
	}
	if b, err := os.ReadFile(taken); err != nil || string(b) != "precious" {
		t.Errorf("a file in the way: %q, %v", b, err)
	}
}

// Close cuts connections on which nobody speaks.
func TestCloseCuts(t *testing.T) {
	f := start(t, newVsock(t), "tcp:127.0.0.1:0=vsock:5005", nil)
	c, err := net.Dial("tcp", f.Spec().Listen.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := io.ReadFull(c, b[:]); err != nil { // it is carried
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(b[:]); err == nil {
		t.Error("the connection lives")
	}
}

// Connections wait for Start.
func TestListenBeforeStart(t *testing.T) {
	f, err := Listen(newVsock(t), parse(t, "tcp:127.0.0.1:0=vsock:5005"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	answer := make(chan string, 1)
	go func() { answer <- ask("tcp", f.Spec().Listen.Address, "early") }()
	f.Start(slog.New(slog.DiscardHandler))
	if got := <-answer; got != "early bye" {
		t.Errorf("answer %q", got)
	}
}

// A listener with a limit accepts again when a connection is closed, and its own
// end reaches those who wait.
func TestLimit(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLimit(inner, 2)
	var conns []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for range 2 {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	accepted := make(chan error, 1)
	var third net.Conn
	go func() {
		var err error
		third, err = l.Accept()
		accepted <- err
	}()
	select {
	case err := <-accepted:
		t.Fatalf("a third connection over a limit of two: %v", err)
	case <-time.After(20 * time.Millisecond): // it waits
	}
	for range 2 { // gives its slot back once
		conns[0].Close()
	}
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	conns = append(conns, third)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept of a closed listener = %v", err)
	}
	for _, c := range conns {
		c.Close()
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"tcp:127.0.0.1:8080=vsock:5005", "vsock:8000=tcp:[::1]:443", "vsock:1=unix:/a=b", "unix:/a=b=vsock:1", "=", "vsock:=", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		spec, err := Parse(text)
		if err != nil {
			return
		}
		if spec.String() != text {
			t.Errorf("%q is %q", text, spec)
		}
		if again, err := Parse(spec.String()); err != nil || again != spec {
			t.Errorf("%q read again: %v, %v", text, again, err)
		}
		if (spec.Listen.Network == "vsock") == (spec.Dial.Network == "vsock") {
			t.Errorf("%q has not exactly one vsock side", text)
		}
	})
}
