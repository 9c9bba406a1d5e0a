package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
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

// The longest of everything fits in a line.
func TestLongestResume(t *testing.T) {
	r := Resume{
		Seed: bytes.Repeat([]byte{0xff}, MaxSeed), Time: math.MaxInt64, CABundle: pemOf("CERTIFICATE", MaxCABundle),
		Identity: Identity{InstanceID: strings.Repeat("i", maxName), Hostname: strings.Repeat("h", 63), Region: strings.Repeat("r", maxName),
			AvailabilityZone: strings.Repeat("z", maxName), InstanceType: strings.Repeat("t", maxName), ImageID: strings.Repeat("m", maxName), AccountID: strings.Repeat("1", maxName)},
	}
	var got Resume
	f := &fake{ready: goodReady, resumed: func(r *Resume) { got = *r }}
	if _, err := connect(t, f).Resume(within(t), r); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got); diff != "" {
		t.Errorf("what the guest got (-want +got):\n%s", diff)
	}
}

func TestInvalid(t *testing.T) {
	change := func(f func(*Resume)) *request {
		r := goodResume()
		f(&r)
		return &request{Resume: &r}
	}
	devices := func(timeout int64, want ...string) *request {
		return &request{Devices: &DevicesRequest{Want: want, TimeoutMs: timeout}}
	}
	tests := []struct {
		name string
		req  *request
	}{
		{"no seed", change(func(r *Resume) { r.Seed = nil })},
		{"short seed", change(func(r *Resume) { r.Seed = make([]byte, MinSeed-1) })},
		{"long seed", change(func(r *Resume) { r.Seed = make([]byte, MaxSeed+1) })},
		{"no time", change(func(r *Resume) { r.Time = 0 })},
		{"time before the epoch", change(func(r *Resume) { r.Time = -1 })},
		{"no instance", change(func(r *Resume) { r.InstanceID = "" })},
		{"instance with a quote", change(func(r *Resume) { r.InstanceID = `i-"` })},
		{"no host name", change(func(r *Resume) { r.Hostname = "" })},
		{"host name with a line feed", change(func(r *Resume) { r.Hostname = "a\nb" })},
		{"host name with an empty label", change(func(r *Resume) { r.Hostname = "a..b" })},
		{"long host name", change(func(r *Resume) { r.Hostname = strings.Repeat("a", 65) })},
		{"label that ends in a hyphen", change(func(r *Resume) { r.Hostname = "a-" })},
		{"region with a space", change(func(r *Resume) { r.Region = "us east" })},
		{"long bundle", change(func(r *Resume) { r.CABundle = pemOf("CERTIFICATE", MaxCABundle+1) })},
		{"bundle without a certificate", change(func(r *Resume) { r.CABundle = []byte("certificate") })},
		{"bundle with a private key", change(func(r *Resume) { r.CABundle = append(pemOf("CERTIFICATE", 100), pemOf("EC PRIVATE KEY", 100)...) })},
		{"device", devices(1, "1d0f")},
		{"device in capitals", devices(1, "1D0F:E4C1")},
		{"too many devices", devices(1, make([]string, MaxWants+1)...)},
		{"negative timeout", devices(-1, Vsock)},
		{"long timeout", devices(MaxDevicesTimeout.Milliseconds()+1, Vsock)},
	}
	f := &fake{ready: goodReady}
	c := connect(t, f)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := c.call(within(t), tt.req)
			var got *Error
			if !errors.As(err, &got) || got.Code != Invalid {
				t.Errorf("guest: %v, want invalid", err)
			}
			if r := tt.req.Resume; r != nil {
				if _, err := c.Resume(within(t), *r); !errors.As(err, &got) || got.Code != Invalid {
					t.Errorf("client: %v, want invalid", err)
				}
			}
		})
	}
	if len(f.calls) != 0 {
		t.Errorf("the guest did %q", f.calls)
	}
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

func TestGuestAnswers(t *testing.T) {
	const ping = `{"v":1,"id":9,"ping":{}}` + "\n"
	const pong = `{"v":1,"re":9,"pong":{}}`
	unsupported := func(text string) string {
		return `{"v":1,"re":5,"error":{"code":"unsupported","message":"` + text + `"}}`
	}
	tests := []struct {
		name, in string
		want     []string // then pong
	}{
		{"empty line", "\n", nil},
		{"garbage", "\x00\xff{{{\n\n\n", nil},
		{"half a line before", `{"v":1,"id":3,"pi` + "\n", nil},
		{"second half of a line", `ng":{}}` + "\n", nil},
		{"an answer, as an echo is", pong + "\n", nil},
		{"no id", `{"v":1,"ping":{}}` + "\n", nil},
		{"negative id", `{"v":1,"id":-1,"ping":{}}` + "\n", nil},
		{"array", "[1,2]\n", nil},
		{"too long", `{"v":1,"id":3,"ping":{},"x":"` + strings.Repeat("x", MaxLine) + `"}` + "\n", nil},
		{"too long, with a request as its end", strings.Repeat("x", MaxLine) + `{"v":1,"id":3,"ping":{}}` + "\n", nil},
		{"much too long", strings.Repeat("y", 5*MaxLine) + "\n", nil},
		{"longest", `{"v":1,"id":5,"ping":{},"x":"` + strings.Repeat("x", MaxLine-32) + `"}` + "\n", []string{`{"v":1,"re":5,"pong":{}}`}},
		{"nothing asked", `{"v":1,"id":5}` + "\n", []string{unsupported("not a request that this version knows")}},
		{"unknown", `{"v":1,"id":5,"reboot":{}}` + "\n", []string{unsupported("not a request that this version knows")}},
		{"two at once", `{"v":1,"id":5,"ping":{},"quiesce":{}}` + "\n", []string{unsupported("not a request that this version knows")}},
		{"wrong type", `{"v":1,"id":5,"devices":7}` + "\n", []string{unsupported("not a request that this version knows")}},
		{"other version", `{"v":2,"id":5,"ping":{}}` + "\n", []string{unsupported("protocol version 2, this is 1")}},
		{"unknown member", `{"v":1,"id":5,"ping":{"a":1},"b":2}` + "\n", []string{`{"v":1,"re":5,"pong":{}}`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			write, read := raw(t, &fake{})
			write(tt.in)
			var got []string
			for range tt.want {
				got = append(got, read())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			write(ping)
			if got := read(); got != pong {
				t.Errorf("then ping: answer %s", got)
			}
		})
	}
}

// The guest says nothing until it is asked.
func TestGuestIsSilent(t *testing.T) {
	a, b := net.Pipe()
	serve(t, b, &fake{})
	defer a.Close()
	a.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := a.Read(make([]byte, 1)); n > 0 || !errors.Is(err, context.DeadlineExceeded) && err == nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// A Host that gave up begins anew, as a restored one does: what it asked before is
// cancelled, and a late answer is not taken for another.
func TestGivesUp(t *testing.T) {
	f := &fake{block: true, entered: make(chan struct{}, 1), ready: goodReady}
	c := connect(t, f)
	ctx, cancel := context.WithCancel(within(t))
	done := make(chan error, 1)
	go func() {
		_, err := c.Devices(ctx, Vsock)
		done <- err
	}()
	<-f.entered
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	f.set(func() { f.block = false })
	if _, err := c.Resume(within(t), goodResume()); err != nil {
		t.Errorf("after giving up: %v", err)
	}
	want := []string{"devices vsock", "cancelled"}
	if diff := cmp.Diff(want, f.calls[:2]); diff != "" {
		t.Errorf("before the second request the first was not ended (-want +got):\n%s", diff)
	}
	// A context that is over already changes nothing either.
	if err := c.Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := c.Ping(within(t)); err != nil {
		t.Error(err)
	}
}

// A context that ends just when the answer comes does not hit the next call.
func TestCancelRace(t *testing.T) {
	c := connect(t, &fake{})
	for range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		_ = c.Ping(ctx)
		if err := c.Ping(within(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// A new conversation is understood although the last line of the one before was cut
// off.
func TestAfterHalfLine(t *testing.T) {
	a, b := net.Pipe()
	serve(t, b, &fake{})
	if _, err := io.WriteString(a, `{"v":1,"id":3,"pi`); err != nil {
		t.Fatal(err)
	}
	c := NewClient(a)
	defer c.Close()
	if err := c.Ping(within(t)); err != nil {
		t.Error(err)
	}
}

// The guest's own timeout is before that of the Host, which so learns what is
// missing.
func TestDevicesTimeout(t *testing.T) {
	c := connect(t, deviceless{})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := c.Devices(ctx, Vsock)
	var got *Error
	if !errors.As(err, &got) || got.Code != Missing || !cmp.Equal(got.Missing, []string{Vsock}) {
		t.Errorf("error %v, want missing vsock", err)
	}
}

type deviceless struct{}

func (deviceless) Devices(ctx context.Context, want []string) ([]Device, error) {
	<-ctx.Done()
	return nil, &Error{Code: Missing, Message: "not there", Missing: want}
}
func (deviceless) Resume(context.Context, *Resume) (*Ready, error) { return nil, nil }
func (deviceless) Quiesce(context.Context) error                   { return nil }

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

func TestHostileGuest(t *testing.T) {
	ping := func(c *Client, ctx context.Context) error { return c.Ping(ctx) }
	resume := func(c *Client, ctx context.Context) error { _, err := c.Resume(ctx, goodResume()); return err }
	devices := func(c *Client, ctx context.Context) error { _, err := c.Devices(ctx); return err }
	const pong = `{"v":1,"re":RE,"pong":{}}` + "\n"
	ready := func(b, r string, up, cpus int) string {
		return fmt.Sprintf(`{"v":1,"re":RE,"ready":{"bootId":%q,"release":%q,"uptimeMs":%d,"cpus":%d}}`+"\n", b, r, up, cpus)
	}
	many := `{"v":1,"re":RE,"devices":[` + strings.Repeat(`{"bdf":"0000:00:00.0","id":"8086:29c0"},`, MaxDevices) + `{"bdf":"0000:00:00.0","id":"8086:29c0"}]}` + "\n"
	tests := []struct {
		name, answer string
		call         func(*Client, context.Context) error
		want         error // nil: works
	}{
		{"right", pong, ping, nil},
		{"after garbage", "\x00\xff\nxx}\n[]\n{}\n" + pong, ping, nil},
		{"after the end of an earlier line", `d":"x"}}` + "\n" + pong, ping, nil},
		{"after a line without end", strings.Repeat("x", 4*MaxLine) + "\n" + pong, ping, nil},
		{"after another's answer", `{"v":1,"re":1,"error":{"code":"failed","message":"x"}}` + "\n" + pong, ping, nil},
		{"answer to something else", `{"v":1,"re":RE,"quiesced":{}}` + "\n", ping, ErrProtocol},
		{"empty answer", `{"v":1,"re":RE}` + "\n", ping, ErrProtocol},
		{"version", `{"v":2,"re":RE,"pong":{}}` + "\n", ping, ErrProtocol},
		{"type", `{"v":1,"re":RE,"pong":7}` + "\n", ping, ErrProtocol},
		{"ready", ready(goodReady.BootID, "6.12", 1, 1), resume, nil},
		{"boot id", ready("x", "6.12", 1, 1), resume, ErrProtocol},
		{"release", ready(goodReady.BootID, "6 12", 1, 1), resume, ErrProtocol},
		{"no CPU", ready(goodReady.BootID, "6.12", 1, 0), resume, ErrProtocol},
		{"uptime", ready(goodReady.BootID, "6.12", -1, 1), resume, ErrProtocol},
		{"no ready", pong, resume, ErrProtocol},
		{"device", `{"v":1,"re":RE,"devices":[{"bdf":"x","id":"8086:29c0"}]}` + "\n", devices, ErrProtocol},
		{"driver", `{"v":1,"re":RE,"devices":[{"bdf":"0000:00:00.0","id":"8086:29c0","driver":"a/b"}]}` + "\n", devices, ErrProtocol},
		{"many devices", many, devices, ErrProtocol},
		{"no devices", pong, devices, ErrProtocol},
		{"silence", "", ping, context.DeadlineExceeded},
		{"garbage for ever", strings.Repeat("{\"v\":1}\n", 1000), ping, context.DeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := scripted(t, tt.answer)
			ctx := within(t)
			if errors.Is(tt.want, context.DeadlineExceeded) {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 30*time.Millisecond)
				defer cancel()
			}
			if err := tt.call(c, ctx); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestGuestErrorIsBounded(t *testing.T) {
	missing := strings.Repeat(`"`+strings.Repeat("m", 100)+`",`, 500)
	c := scripted(t, `{"v":1,"re":RE,"error":{"code":"\u0007","message":"`+strings.Repeat("e", 5000)+`","missing":[`+missing+`"x"]}}`+"\n")
	err := c.Ping(within(t))
	var got *Error
	if !errors.As(err, &got) {
		t.Fatalf("error %v", err)
	}
	if got.Code != Failed || len(got.Message) > maxText || len(got.Missing) > MaxWants {
		t.Errorf("code %q, %d bytes, %d missing", got.Code, len(got.Message), len(got.Missing))
	}
}

func TestPortEnds(t *testing.T) {
	a, b := net.Pipe()
	f := &fake{block: true, entered: make(chan struct{}, 1)}
	served := make(chan error, 1)
	go func() { served <- Serve(t.Context(), b, f) }()
	c := NewClient(a)
	done := make(chan error, 1)
	go func() { done <- c.Quiesce(within(t)) }()
	<-f.entered
	c.Close()
	if err := <-done; err == nil {
		t.Error("a call outlived its connection")
	}
	select {
	case err := <-served:
		if !errors.Is(err, io.EOF) {
			t.Errorf("Serve: %v, want EOF", err)
		}
	case <-time.After(patience):
		t.Fatal("Serve did not end with its port")
	}
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

func (c *scriptConn) Read(b []byte) (int, error)  { return c.Reader.Read(b) }
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
