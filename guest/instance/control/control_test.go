package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait. It is never used up unless the test fails.
const patience = 20 * time.Second

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A fake is a guest that does nothing and remembers what it was asked.
type fake struct {
	mu    sync.Mutex
	calls []string

	err     error
	block   bool // until the request is cancelled
	entered chan struct{}
	ready   Ready
	list    []Device
	resumed func(*Resume)
}

func (f *fake) do(ctx context.Context, call string) error {
	f.mu.Lock()
	f.calls = append(f.calls, call)
	err, block, entered := f.err, f.block, f.entered
	f.mu.Unlock()
	if entered != nil {
		entered <- struct{}{}
	}
	if block {
		<-ctx.Done()
		f.set(func() { f.calls = append(f.calls, "cancelled") })
		return ctx.Err()
	}
	return err
}

func (f *fake) Resume(ctx context.Context, r *Resume) (*Ready, error) {
	if f.resumed != nil {
		f.resumed(r)
	}
	return &f.ready, f.do(ctx, fmt.Sprintf("resume %d bytes at %d %+v", len(r.Seed), r.Time, r.Identity))
}

func (f *fake) Quiesce(ctx context.Context) error { return f.do(ctx, "quiesce") }

func (f *fake) Devices(ctx context.Context, want []string) ([]Device, error) {
	return f.list, f.do(ctx, "devices "+strings.Join(want, " "))
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

var goodReady = Ready{BootID: "01234567-89ab-4def-8123-456789abcdef", Release: "6.12.117+deb13-cloud-amd64", UptimeMs: 1, CPUs: 2, MemoryKiB: 1 << 20}

func goodResume() Resume {
	return Resume{
		Seed: bytes.Repeat([]byte{7}, MinSeed), Time: 1e18,
		Identity: Identity{InstanceID: "i-0123456789abcdef0", Hostname: "ip-10-0-0-1.ec2.internal", Region: "us-east-1"},
	}
}

// serve runs a guest on a port until the test ends.
func serve(t testing.TB, port io.ReadWriteCloser, h Handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, port, h) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-served:
		case <-time.After(patience):
			t.Error("Serve did not end")
		}
	})
}

func connect(t testing.TB, h Handler) *Client {
	t.Helper()
	a, b := net.Pipe()
	serve(t, b, h)
	c := NewClient(a)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestRequests(t *testing.T) {
	f := &fake{ready: goodReady, list: []Device{{"0000:01:00.0", "1d0f:e4c1", "nitro_enclaves"}, {BDF: "0000:00:1f.0", ID: "8086:2918"}}}
	c := connect(t, f)
	if err := c.Ping(within(t)); err != nil {
		t.Error(err)
	}
	r := goodResume()
	ready, err := c.Resume(within(t), r)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(goodReady, ready); diff != "" {
		t.Errorf("ready (-want +got):\n%s", diff)
	}
	if err := c.Quiesce(within(t)); err != nil {
		t.Error(err)
	}
	list, err := c.Devices(within(t), PCI(0x1d0f, 0xe4c1), Vsock, PCIPresent(0x1d0f, 1))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.list, list); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
	if _, err := c.Devices(within(t)); err != nil {
		t.Error(err)
	}
	want := []string{
		fmt.Sprintf("resume %d bytes at %d %+v", len(r.Seed), r.Time, r.Identity),
		"quiesce", "devices 1d0f:e4c1 vsock present:1d0f:0001", "devices ",
	}
	if diff := cmp.Diff(want, f.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want *Error
		text string
	}{
		{"kernel", errors.New("set clock: operation not permitted"), &Error{Code: Failed, Message: "set clock: operation not permitted"}, "quiesce guest: set clock: operation not permitted"},
		{"typed", &Error{Code: Missing, Message: "not there", Missing: []string{"vsock"}}, &Error{Code: Missing, Message: "not there", Missing: []string{"vsock"}}, "quiesce guest: not there: vsock"},
		{"wrapped", fmt.Errorf("a: %w", &Error{Code: Invalid, Message: "b"}), &Error{Code: Invalid, Message: "a: b"}, "quiesce guest: a: b"},
		{"no text", &Error{Code: Failed}, &Error{Code: Failed}, "quiesce guest: failed"},
		{"control characters", errors.New("a\x1b[2J\n"), &Error{Code: Failed, Message: "a?[2J?"}, "quiesce guest: a?[2J?"},
		{"long", errors.New(strings.Repeat("x", MaxLine)), &Error{Code: Failed, Message: strings.Repeat("x", maxText)}, ""},
	}
	f := &fake{}
	c := connect(t, f)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f.set(func() { f.err = tt.err })
			err := c.Quiesce(within(t))
			var got *Error
			if !errors.As(err, &got) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if tt.text != "" && err.Error() != tt.text {
				t.Errorf("text %q, want %q", err, tt.text)
			}
		})
	}
}

// What the guest would refuse is not sent, and what is sent is refused too.
// pemOf is a block of n bytes, more or less of a real one.
func pemOf(kind string, n int) []byte {
	head, tail := "-----BEGIN "+kind+"-----\n", "\n-----END "+kind+"-----\n"
	return []byte(head + strings.Repeat("A", n-len(head)-len(tail)) + tail)
}

// raw is a guest to which a test writes bytes.
func raw(t *testing.T, h Handler) (write func(string), read func() string) {
	t.Helper()
	a, b := net.Pipe()
	serve(t, b, h)
	t.Cleanup(func() { a.Close() })
	a.SetDeadline(time.Now().Add(patience))
	lines := newLineReader(a)
	write = func(s string) {
		t.Helper()
		if _, err := io.WriteString(a, s); err != nil {
			t.Fatal(err)
		}
	}
	read = func() string {
		t.Helper()
		line, err := lines.line()
		if err != nil {
			t.Fatal(err)
		}
		return string(line)
	}
	return write, read
}

type deviceless struct{}

func (deviceless) Devices(ctx context.Context, want []string) ([]Device, error) {
	<-ctx.Done()
	return nil, &Error{Code: Missing, Message: "not there", Missing: want}
}

func (deviceless) Resume(context.Context, *Resume) (*Ready, error) { return nil, nil }

func (deviceless) Quiesce(context.Context) error { return nil }

// scripted is a client whose guest answers what the test says, with RE for the id
// of the request.
func scripted(t testing.TB, answer string) *Client {
	a, b := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := newLineReader(b)
		for {
			line, err := lines.line()
			if err != nil {
				return
			}
			var req request
			if json.Unmarshal(line, &req) != nil {
				return
			}
			if _, err := io.WriteString(b, strings.ReplaceAll(answer, "RE", fmt.Sprint(req.ID))); err != nil {
				return
			}
		}
	}()
	c := NewClient(a)
	t.Cleanup(func() {
		c.Close()
		b.Close()
		<-done
	})
	return c
}

// FuzzServe sends any bytes to a guest, which must go on to serve.
func FuzzServe(f *testing.F) {
	f.Add([]byte(`{"v":1,"id":5,"ping":{}}`))
	f.Add([]byte(`{"v":1,"id":5,"devices":{"want":["vsock"],"timeoutMs":1}}` + "\n{\"v\":1,"))
	f.Add([]byte(`{"v":1,"id":5,"resume":{"seed":"AAAA","time":1}}` + "\n"))
	f.Add([]byte(`{"v":9,"id":18446744073709551615}` + "\n"))
	f.Add(bytes.Repeat([]byte("a"), 2*MaxLine))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, b := net.Pipe()
		serve(t, b, &fake{})
		defer a.Close()
		a.SetDeadline(time.Now().Add(patience))
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			a.Write(append(in, "\n{\"v\":1,\"id\":77777777,\"ping\":{}}\n"...))
		}()
		lines := newLineReader(a)
		for {
			line, err := lines.line()
			if err != nil {
				t.Fatal(err)
			}
			var ans answer
			if err := json.Unmarshal(line, &ans); err != nil {
				t.Fatalf("answer %q: %v", line, err)
			}
			if ans.Re == 77777777 && ans.Pong != nil {
				break
			}
		}
		<-sent
	})
}

// FuzzClient lets a guest say anything.
func FuzzClient(f *testing.F) {
	f.Add([]byte(`{"v":1,"re":RE,"ready":{"bootId":"01234567-89ab-4def-8123-456789abcdef","release":"6.12","cpus":1}}`))
	f.Add([]byte(`{"v":1,"re":RE,"error":{"code":"failed","message":"x","missing":["a"]}}`))
	f.Add([]byte(`{"v":1,"re":RE,"devices":[{"bdf":"0000:00:00.0","id":"8086:29c0"}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := &Client{turn: make(chan struct{}, 1), id: 41}
		in = bytes.ReplaceAll(in, []byte("RE"), []byte("42"))
		c.conn = &scriptConn{Reader: bytes.NewReader(in)}
		c.lines = newLineReader(c.conn)
		if r, err := c.Resume(t.Context(), goodResume()); err == nil && r.validate() != nil {
			t.Fatalf("ready %+v", r)
		}
		c.id = 41
		c.lines = newLineReader(bytes.NewReader(in))
		if list, err := c.Devices(t.Context()); err == nil && validateDevices(list) != nil {
			t.Fatalf("devices %+v", list)
		}
	})
}

// scriptConn has an input and swallows output.
type scriptConn struct {
	net.Conn
	io.Reader
}

func (c *scriptConn) Read(b []byte) (int, error) { return c.Reader.Read(b) }

func (c *scriptConn) Write(b []byte) (int, error) { return len(b), nil }

func (c *scriptConn) SetDeadline(time.Time) error { return nil }

func BenchmarkPing(b *testing.B) {
	c := connect(b, &fake{})
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Ping(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
