package supervisor

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/images/eif"
)

// newServer serves a fake enclave over a real socket.
func newServer(t *testing.T) (*fakeEnclave, *Client, *server) {
	t.Helper()
	e := newFakeEnclave()
	c, s := serveWard(t, e.fakeGuest, &ward{Guest: e, path: pathEnclave, dial: e.Dial, describe: func() Description {
		d := describeEnclave(e.Info())
		d.RootPEM, d.Forwards = "root", []string{}
		return d
	}})
	return e, c, s
}

// newInstanceServer serves a fake instance.
func newInstanceServer(t *testing.T) (*fakeInstance, *Client) {
	t.Helper()
	i := newFakeInstance()
	c, _ := serveWard(t, i.fakeGuest, &ward{Guest: i, path: pathInstance, dial: i.Dial, describe: func() Description {
		d := describeInstance(i)
		d.RootPEM = "root"
		return d
	}})
	return i, c
}

func serveWard(t *testing.T, g *fakeGuest, w *ward) (*Client, *server) {
	t.Helper()
	dir, err := os.MkdirTemp("", "nl")
	if err != nil {
		t.Fatal(err)
	}
	s, err := serve(dir, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.close()
		g.close()
		os.RemoveAll(dir)
	})
	return newClient(dir), s
}

func TestDescribe(t *testing.T) {
	e, c, _ := newServer(t)
	e.info = emulator.EnclaveInfo{
		EnclaveName: "app", EnclaveID: "i-1-enc2", EnclaveCID: 17, CPUIDs: []int{1, 3}, State: emulator.Running,
		Measurements: measured, ImageName: "<x> & y",
		Metadata: &eif.MetadataInfo{
			BuildMetadata:  eif.BuildMetadata{BuildTool: "tool <1>"},
			CustomMetadata: []byte(`{"team":"a&b"}`),
		},
	}
	got, err := c.Describe(within(t))
	if err != nil {
		t.Fatal(err)
	}
	want := e.info
	want.Metadata = nil
	if diff := cmp.Diff(&want, got.Enclave); diff != "" {
		t.Errorf("enclave (-want +got):\n%s", diff)
	}
	// The user's own keys, as nitro-cli prints them.
	for _, want := range []string{`"BuildTool":"tool <1>"`, `"team":"a&b"`} {
		if !strings.Contains(string(got.Metadata), want) {
			t.Errorf("metadata %s has no %s", got.Metadata, want)
		}
	}
	if got.RootPEM != "root" {
		t.Errorf("root %q", got.RootPEM)
	}
	if info, err := os.Stat(filepath.Join(c.dir, socketName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the socket: %v, %v", info.Mode(), err)
	}
	e.info.Metadata = nil
	if got, err := c.Describe(within(t)); err != nil || got.Metadata != nil {
		t.Errorf("metadata of an image that has none: %s, %v", got.Metadata, err)
	}
}

// One protocol for both: a client need not know what it speaks to.
func TestDescribeInstance(t *testing.T) {
	i, c := newInstanceServer(t)
	i.info = emulator.InstanceInfo{
		InstanceID: "i-1", Name: "web", InstanceType: "m5.xlarge", State: emulator.Running, ProcessID: 5, QEMU: 6,
		CPUs: 4, MemoryMiB: 1024, Kernel: "6.12", Warm: true, Started: time.Unix(1, 2).UTC(), Answered: 3, Enclaves: 1,
	}
	inside := emulator.EnclaveInfo{EnclaveID: "i-1-enc2", EnclaveCID: 16, State: emulator.Starting, Measurements: measured}
	hidden := inside
	hidden.Metadata = &eif.MetadataInfo{CustomMetadata: []byte(`{"team":"a"}`)}
	i.enclaves = []emulator.EnclaveInfo{hidden}
	got, err := c.Describe(within(t))
	if err != nil {
		t.Fatal(err)
	}
	want := Description{Instance: &InstanceDescription{Info: i.info, Enclaves: []emulator.EnclaveInfo{inside}}, RootPEM: "root"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("description (-want +got):\n%s", diff)
	}
	if got.ID() != "i-1" || got.Name() != "web" || got.String() != "instance i-1" {
		t.Errorf("id %s, name %s, %s", got.ID(), got.Name(), got.String())
	}
	i.enclaves = nil
	if got, err := c.Describe(within(t)); err != nil || got.Instance.Enclaves == nil {
		t.Errorf("no enclaves are %v, %v; want an empty list", got.Instance.Enclaves, err)
	}

	// The rest is the same.
	i.debug = true
	i.print("booted\n")
	var console bytes.Buffer
	if err := c.Console(within(t), &console, false); err != nil || console.String() != "booted\n" {
		t.Errorf("console %q, %v", console.String(), err)
	}
	i.ports[22] = func(c net.Conn) { _, _ = io.WriteString(c, "hello"); c.Close() }
	conn, err := c.Dial(within(t), 22)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
		t.Errorf("port 22 says %q, %v", got, err)
	}
	if _, err := c.Dial(within(t), 23); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Dial of a port on which nobody listens = %v", err)
	}
	i.stuck = true
	if err := c.Terminate(within(t)); err == nil || err.Error() != "the guest does not end" {
		t.Errorf("Terminate = %v", err)
	}
}

// What describes neither, or both, is none.
func TestDescribeNothing(t *testing.T) {
	for name, d := range map[string]Description{
		"neither": {},
		"both":    {Enclave: &emulator.EnclaveInfo{}, Instance: &InstanceDescription{}},
	} {
		e := newFakeEnclave()
		c, _ := serveWard(t, e.fakeGuest, &ward{Guest: e, path: pathInstance, dial: e.Dial, describe: func() Description { return d }})
		if _, err := c.Describe(within(t)); err == nil || !strings.Contains(err.Error(), "neither of an enclave nor of an instance") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTerminate(t *testing.T) {
	e, c, s := newServer(t)
	// The supervisor removes its directory when the enclave has ended.
	var supervisor sync.WaitGroup
	defer supervisor.Wait()
	supervisor.Go(func() {
		<-e.ended
		s.close()
		os.RemoveAll(c.dir)
	})
	if err := c.Terminate(within(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.dir); err == nil {
		t.Error("Terminate returned before the state directory was gone")
	}
	if _, err := c.Describe(within(t)); !errors.Is(err, ErrGone) {
		t.Errorf("Describe of an enclave that is gone = %v", err)
	}
	if err := c.Terminate(within(t)); !errors.Is(err, ErrGone) {
		t.Errorf("Terminate of an enclave that is gone = %v", err)
	}
	if _, err := c.Dial(within(t), 1); !errors.Is(err, ErrGone) {
		t.Errorf("Dial of an enclave that is gone = %v", err)
	}
}

func TestTerminateFails(t *testing.T) {
	e, c, _ := newServer(t)
	e.stuck = true
	if err := c.Terminate(within(t)); err == nil || err.Error() != "the guest does not end" {
		t.Errorf("Terminate = %v, want the supervisor's words", err)
	}
	e.stuck = false
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := c.Terminate(ctx) // ends, but nobody removes the directory
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), c.dir) {
		t.Errorf("Terminate = %v, want that %s is still there", err, c.dir)
	}
}

func TestConsole(t *testing.T) {
	e, c, _ := newServer(t)
	var out bytes.Buffer
	if err := c.Console(within(t), &out, true); err == nil || err.Error() != emulator.ErrNoConsole.Error() || out.Len() > 0 {
		t.Errorf("console in production mode: %q, %v", out.String(), err)
	}
	e.debug = true
	e.print("one\n")
	if err := c.Console(within(t), &out, false); err != nil || out.String() != "one\n" {
		t.Errorf("console: %q, %v", out.String(), err)
	}

	// A follower sees each piece when it is printed, and the end of the enclave.
	pieces := make(chan string, 10)
	followed := make(chan error, 1)
	go func() { followed <- c.Console(within(t), writer(func(p []byte) { pieces <- string(p) }), true) }()
	for _, want := range []string{"one\n", "two\n", "three\n"} {
		if want != "one\n" {
			e.print(want)
		}
		select {
		case got := <-pieces:
			if got != want {
				t.Errorf("piece %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("%q does not come", want)
		}
	}
	e.end()
	if err := <-followed; err != nil {
		t.Errorf("Console = %v at the enclave's end", err)
	}
}

func TestConsoleCancelled(t *testing.T) {
	e, c, _ := newServer(t)
	e.debug = true
	e.print("x")
	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Console(ctx, writer(func([]byte) { cancel() }), true); !errors.Is(err, context.Canceled) {
		t.Errorf("Console = %v, want the context's error", err)
	}
}

// The supervisor's own end ends those who watch and talk, without waiting for a
// guest that neither reads nor writes.
func TestCloseCutsEverything(t *testing.T) {
	e, c, s := newServer(t)
	e.debug = true
	e.print("x")
	e.ports[7] = func(conn net.Conn) { <-e.ended; conn.Close() } // takes nothing
	began := make(chan struct{})
	followed := make(chan error, 1)
	go func() { followed <- c.Console(within(t), writer(func([]byte) { close(began) }), true) }()
	<-began
	conn, err := c.Dial(within(t), 7)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write(make([]byte, 16<<20)) // more than all buffers hold
		written <- err
	}()
	closed := make(chan struct{})
	go func() { s.close(); close(closed) }()
	for what, c := range map[string]<-chan error{"console": followed, "write": written} {
		select {
		case err := <-c:
			if what == "write" && err == nil {
				t.Error("the write succeeded")
			}
		case <-time.After(patience):
			t.Fatalf("%s goes on", what)
		}
	}
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("close hangs")
	}
}

func TestDial(t *testing.T) {
	e, c, _ := newServer(t)
	e.ports[5005] = func(conn net.Conn) { // echoes to the end, then says so
		defer conn.Close()
		if _, err := io.Copy(conn, conn); err == nil {
			_, _ = io.WriteString(conn, " bye")
		}
	}
	conn, err := c.Dial(within(t), 5005)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != string(sent)+" bye" {
		t.Errorf("%d bytes, %v; want what was sent, and bye", len(got), err)
	}
}

func TestDialFails(t *testing.T) {
	_, c, _ := newServer(t)
	_, err := c.Dial(within(t), 5005)
	if !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, ErrGone) {
		t.Errorf("Dial of a port on which nobody listens = %v, want a refusal", err)
	}
	if _, err := c.Dial(within(t), 1<<32-1); err == nil || !strings.Contains(err.Error(), `port is "4294967295"; allowed are 0 to 4294967294`) {
		t.Errorf("Dial of no port = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Dial(ctx, 5005); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial with a context that ended = %v", err)
	}
}

// Bytes that come together with the request, or with the answer, are not lost.
func TestDialEarlyBytes(t *testing.T) {
	e, c, _ := newServer(t)
	e.ports[5005] = func(conn net.Conn) {
		defer conn.Close()
		_, _ = io.WriteString(conn, "welcome ") // before it is asked
		_, _ = io.Copy(conn, conn)
	}
	conn, err := c.connect(within(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /dial?port=5005 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: vsock\r\n\r\nearly"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	_, body, _ := strings.Cut(string(got), "\r\n\r\n")
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 101 ") || body != "welcome early" {
		t.Errorf("answer %q, %v", got, err)
	}
}

// A client that goes away takes its vsock connection along.
func TestDialClientGone(t *testing.T) {
	e, c, _ := newServer(t)
	ended := make(chan error, 1)
	e.ports[7] = func(conn net.Conn) {
		defer conn.Close()
		_, err := io.Copy(io.Discard, conn)
		ended <- err
	}
	conn, err := c.Dial(within(t), 7)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the enclave keeps a connection whose client is gone")
	}
}

// What comes over the socket may be anything.
func TestStrangeRequests(t *testing.T) {
	_, c, _ := newServer(t)
	tests := []struct{ name, request, want string }{
		{"no HTTP", "\x00\x01\x02\r\n\r\n", "HTTP/1.1 400 "},
		{"unknown path", "GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 "},
		{"unknown method", "DELETE /enclave HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 "},
		{"terminate by GET", "GET /terminate HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 "},
		{"no port", "GET /dial HTTP/1.1\r\nHost: x\r\n\r\n", `port is ""; allowed are`},
		{"port of another form", "GET /dial?port=0x10 HTTP/1.1\r\nHost: x\r\n\r\n", `port is "0x10"; allowed are`},
		{"negative port", "GET /dial?port=-1 HTTP/1.1\r\nHost: x\r\n\r\n", `port is "-1"; allowed are`},
		{"port too large", "GET /dial?port=4294967296 HTTP/1.1\r\nHost: x\r\n\r\n", `port is "4294967296"; allowed are`},
		{"oversized header", "GET /enclave HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 64<<10) + "\r\n\r\n", "HTTP/1.1 431 "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := c.connect(within(t))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = io.WriteString(conn, tt.request) }()
			var got strings.Builder
			for b := make([]byte, 4096); !strings.Contains(got.String(), tt.want); {
				n, err := conn.Read(b)
				got.Write(b[:n])
				if err != nil {
					t.Fatalf("answer %q, %v; want %q", got.String(), err, tt.want)
				}
			}
		})
	}
	if _, err := c.Describe(within(t)); err != nil {
		t.Errorf("afterwards the server is not there: %v", err)
	}
}

// An answer without a sentence still says something.
func TestAnswerError(t *testing.T) {
	answer := func(code int, body string) error {
		return answerError(&http.Response{StatusCode: code, Status: fmt.Sprintf("%d X", code), Body: io.NopCloser(strings.NewReader(body))})
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{answer(500, ""), "the supervisor answered 500 X"},
		{answer(500, "  broken\n"), "broken"},
		{answer(503, "refused\n"), "refused"},
	} {
		if tt.err.Error() != tt.want {
			t.Errorf("%q, want %q", tt.err, tt.want)
		}
	}
	if err := answer(503, ""); !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(gone(err), ErrGone) {
		t.Errorf("%v is no refusal", err)
	}
	if got := len(answer(500, strings.Repeat("x", 1<<20)).Error()); got != 64<<10 {
		t.Errorf("%d bytes of a long answer", got)
	}
}

// Whoever reads an upgraded connection gets first what came with the answer, in
// either way of reading.
func TestUpgradedConn(t *testing.T) {
	for name, read := range map[string]func(c net.Conn) ([]byte, error){
		"Read": func(c net.Conn) ([]byte, error) { return io.ReadAll(struct{ io.Reader }{c}) },
		"Copy": func(c net.Conn) ([]byte, error) {
			var b bytes.Buffer
			_, err := io.Copy(&b, c)
			return b.Bytes(), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, err := pair()
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			if _, err := io.WriteString(b, "HTTP/1.1 101 Switching Protocols\r\n\r\nearly "); err != nil {
				t.Fatal(err)
			}
			up, err := upgrade(a, 1)
			if err != nil {
				t.Fatal(err)
			}
			// A request that nobody read would make the end a reset.
			if _, err := http.ReadRequest(bufio.NewReader(b)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(b, "late"); err != nil {
				t.Fatal(err)
			}
			b.Close()
			if got, err := read(up); err != nil || string(got) != "early late" {
				t.Errorf("%q, %v; want what came with the answer and what came later", got, err)
			}
		})
	}
}
