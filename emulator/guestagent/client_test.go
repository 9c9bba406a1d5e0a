package guestagent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/guest/agent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait. It is never used up unless the test fails.
const patience = 20 * time.Second

// serve starts an agent, the one that runs in guests, and returns how to connect
// to it and how to end it.
func serve(t *testing.T) (dial func() net.Conn, stop func()) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := agent.New(&agent.Config{Env: []string{"PATH=/usr/bin:/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("agent: %v", err)
		}
	})
	t.Cleanup(stop)
	return func() net.Conn {
		t.Helper()
		c, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}, stop
}

func connect(t *testing.T, conn net.Conn) *Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := New(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // some tests end the connection
	return c
}

// within is a context that ends a test which hangs.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestRun(t *testing.T) {
	dial, _ := serve(t)
	c := connect(t, dial())
	tests := []struct {
		name, command, stdin, stdout, stderr string
		want                                 error
	}{
		{name: "streams", command: "cat; echo e >&2", stdin: "in\n", stdout: "in\n", stderr: "e\n"},
		{name: "status", command: "echo o; exit 7", stdout: "o\n", want: &ExitError{Status: 7}},
		{name: "largest status", command: "exit 255", want: &ExitError{Status: 255}},
		{name: "signal", command: "kill -TERM $$", want: &ExitError{Status: 143, Signal: "TERM"}},
		{name: "input that is not read", command: "true", stdin: strings.Repeat("x", 4<<20)},
		{name: "input that is not read, and failure", command: "exit 3", stdin: strings.Repeat("x", 4<<20), want: &ExitError{Status: 3}},
		{name: "no such command", command: "/no/such", stderr: "not found", want: &ExitError{Status: 127}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			err := c.Run(within(t), tt.command, Streams{Stdin: strings.NewReader(tt.stdin), Stdout: &stdout, Stderr: &stderr})
			var exit *ExitError
			switch {
			case tt.want == nil && err != nil:
				t.Errorf("error %v", err)
			case tt.want != nil && (!errors.As(err, &exit) || !cmp.Equal(tt.want, exit)):
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if stdout.String() != tt.stdout || !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("output %q, %q", stdout.String(), stderr.String())
			}
		})
	}
}

func TestOutput(t *testing.T) {
	dial, _ := serve(t)
	c := connect(t, dial())
	out, err := c.Output(within(t), "echo o; echo why >&2; exit 4")
	var exit *ExitError
	if string(out) != "o\n" || !errors.As(err, &exit) || exit.Error() != "exit status 4: why" {
		t.Errorf("output %q, error %v", out, err)
	}
	if got := (&ExitError{Status: 137, Signal: "KILL"}).Error(); got != "signal KILL" {
		t.Errorf("error %q", got)
	}
	// Of a long output the end is kept.
	out, err = c.Output(within(t), "head -c 5000000 /dev/zero; echo end")
	if err != nil || len(out) != maxOutput || !bytes.HasSuffix(out, []byte("\x00end\n")) {
		t.Errorf("%d bytes, %v; want the last %d", len(out), err, maxOutput)
	}
}

func TestTail(t *testing.T) {
	var all bytes.Buffer
	var kept tail
	chunk := make([]byte, 300001)
	for i := range 20 {
		for j := range chunk {
			chunk[j] = byte(i*7 + j)
		}
		p := chunk[:len(chunk)-i]
		all.Write(p)
		if n, err := kept.Write(p); n != len(p) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		want := all.Bytes()[max(0, all.Len()-maxOutput):]
		if !bytes.Equal(kept.last(), want) {
			t.Fatalf("after %d bytes %d are kept, or others", all.Len(), len(kept.last()))
		}
		if cap(kept.b) > 4*maxOutput {
			t.Fatalf("%d bytes of memory", cap(kept.b))
		}
	}
	if n, _ := kept.Write(all.Bytes()); n != all.Len() || !bytes.Equal(kept.last(), all.Bytes()[all.Len()-maxOutput:]) {
		t.Error("a piece longer than the limit")
	}
}

// Commands of one client run at once.
func TestConcurrently(t *testing.T) {
	dial, _ := serve(t)
	c := connect(t, dial())
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if out, err := c.Output(within(t), "cat /dev/null; echo x"); err != nil || string(out) != "x\n" {
				t.Errorf("output %q, %v", out, err)
			}
		})
	}
	all.Wait()
}

func TestStart(t *testing.T) {
	dial, _ := serve(t)
	c := connect(t, dial())
	p, err := c.Start("exec cat")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(p, got); err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := p.Read(got)
		read <- err
	}()
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-read; err == nil {
		t.Error("a read under way goes on after Close")
	}
}

// The end of the context is the end of the command.
func TestRunCancelled(t *testing.T) {
	dial, _ := serve(t)
	c := connect(t, dial())
	ctx, cancel := context.WithCancel(t.Context())
	pid := make(lines, 1)
	go func() { <-pid; cancel() }()
	err := c.Run(ctx, "echo $$; exec sleep 1000", Streams{Stdout: pid})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want the context's error", err)
	}
	// The connection is as good as before.
	if out, err := c.Output(within(t), "echo x"); err != nil || string(out) != "x\n" {
		t.Errorf("the next command: %q, %v", out, err)
	}
}

// lines passes on what is written.
type lines chan []byte

func (l lines) Write(p []byte) (int, error) {
	select {
	case l <- bytes.Clone(p):
	default:
	}
	return len(p), nil
}

// An agent that goes away is not a command that succeeded.
func TestAgentGone(t *testing.T) {
	dial, stop := serve(t)
	c := connect(t, dial())
	began := make(lines, 1)
	go func() { <-began; stop() }()
	if err := c.Run(within(t), "echo x; exec sleep 1000", Streams{Stdout: began}); !errors.Is(err, ErrLost) {
		t.Errorf("Run = %v, want ErrLost", err)
	}
	if err := c.Run(within(t), "true", Streams{}); !errors.Is(err, ErrLost) {
		t.Errorf("Run on a connection that ended = %v, want ErrLost", err)
	}
	if _, err := c.Start("true"); !errors.Is(err, ErrLost) {
		t.Errorf("Start on a connection that ended = %v, want ErrLost", err)
	}
}

// A freezer is a connection to a guest that can hang: nothing is read or written
// any more, until the connection is closed.
type freezer struct {
	net.Conn
	frozen, closed chan struct{}
	once           sync.Once
}

func newFreezer(c net.Conn) *freezer {
	return &freezer{Conn: c, frozen: make(chan struct{}), closed: make(chan struct{})}
}

func (f *freezer) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	select {
	case <-f.frozen:
		<-f.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (f *freezer) Write(p []byte) (int, error) {
	select {
	case <-f.frozen:
		<-f.closed
		return 0, net.ErrClosed
	default:
		return f.Conn.Write(p)
	}
}

func (f *freezer) Close() error {
	f.once.Do(func() { close(f.closed) })
	return f.Conn.Close()
}

// A guest that hangs holds nobody up for longer than closeTimeout.
func TestGuestHangs(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, c *Client, freeze func())
	}{
		{"while a command runs", func(t *testing.T, c *Client, freeze func()) {
			ctx, cancel := context.WithCancel(t.Context())
			began := make(lines, 1)
			go func() { <-began; freeze(); cancel() }()
			if err := c.Run(ctx, "echo x; exec sleep 1000", Streams{Stdout: began}); !errors.Is(err, context.Canceled) {
				t.Errorf("Run = %v", err)
			}
		}},
		{"while a pipe is open", func(t *testing.T, c *Client, freeze func()) {
			p, err := c.Start("exec cat")
			if err != nil {
				t.Fatal(err)
			}
			freeze()
			read := make(chan error, 1)
			go func() {
				_, err := p.Read(make([]byte, 1))
				read <- err
			}()
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if err := <-read; err == nil {
				t.Error("a read of a closed pipe succeeds")
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dial, _ := serve(t)
			f := newFreezer(dial())
			c := connect(t, f)
			done := make(chan struct{})
			go func() {
				defer close(done)
				tt.do(t, c, sync.OnceFunc(func() { close(f.frozen) }))
			}()
			select {
			case <-done:
			case <-time.After(patience):
				t.Fatal("it hangs with its guest")
			}
		})
	}
}

// What is no agent is refused in time, and the connection closed.
func TestNewFails(t *testing.T) {
	tests := []struct {
		name  string
		serve func(c net.Conn)
		want  error // nil for any
	}{
		{"silence", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, context.DeadlineExceeded},
		{"the end", func(c net.Conn) { c.Close() }, nil},
		{"something else", func(c net.Conn) {
			_, _ = c.Write(bytes.Repeat([]byte("HTTP/1.1 400 Bad Request\r\n"), 20000))
			c.Close()
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, server := socketPair(t)
			var serving sync.WaitGroup
			serving.Go(func() { tt.serve(server) })
			defer serving.Wait()
			limit := patience
			if tt.want != nil {
				limit = 20 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, err := New(ctx, client)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.HasPrefix(err.Error(), "connect to guest agent: ") {
				t.Errorf("New = %v, want %v", err, tt.want)
			}
			if _, err := client.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the connection is open: %v", err)
			}
		})
	}
}

// A status that no system has does not become success.
func TestStrangeStatus(t *testing.T) {
	client, server := socketPair(t)
	var serving sync.WaitGroup
	serving.Go(func() { strangeAgent(t, server, 256) })
	defer serving.Wait()
	c := connect(t, client)
	defer c.Close()
	var exit *ExitError
	if err := c.Run(within(t), "x", Streams{}); !errors.As(err, &exit) || exit.Status != 255 {
		t.Errorf("Run = %v, want exit status 255", err)
	}
}

// strangeAgent answers one command with a status.
func strangeAgent(t *testing.T, conn net.Conn, status uint32) {
	cfg := &ssh.ServerConfig{NoClientAuth: true}
	cfg.AddHostKey(hostKey(t))
	c, channels, requests, err := ssh.NewServerConn(conn, cfg)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	go ssh.DiscardRequests(requests)
	for nc := range channels {
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		for r := range reqs {
			_ = r.Reply(true, nil)
			_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
			ch.Close()
		}
	}
}

// Input that is no terminal is run as a script.
func TestShellScript(t *testing.T) {
	dial, _ := serve(t)
	c := connect(t, dial())
	in, out := file(t, "echo $((6*7))\nexit 5\n"), file(t, "")
	err := c.Shell(within(t), in, out, out)
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Status != 5 {
		t.Errorf("Shell = %v, want exit status 5", err)
	}
	if got, err := os.ReadFile(out.Name()); err != nil || string(got) != "42\n" {
		t.Errorf("output %q, %v", got, err)
	}
}

func file(t *testing.T, content string) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return f
}

// On a terminal the shell has one too, of the same size and type; afterwards
// ours is as it was.
func TestShellTerminal(t *testing.T) {
	t.Setenv("TERM", "xterm-test")
	dial, _ := serve(t)
	c := connect(t, dial())
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	if err := pty.Setsize(slave, &pty.Winsize{Rows: 31, Cols: 97}); err != nil {
		t.Fatal(err)
	}
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	var seen bytes.Buffer
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(&seen, master) })
	shell := make(chan error, 1)
	go func() { shell <- c.Shell(within(t), slave, slave, slave) }()
	for _, command := range []string{"stty size\r", "echo type $TERM\r", "test -t 0 && exit 9\r"} {
		if _, err := io.WriteString(master, command); err != nil {
			t.Fatal(err)
		}
	}
	var exit *ExitError
	if err := <-shell; !errors.As(err, &exit) || exit.Status != 9 {
		t.Errorf("Shell = %v, want exit status 9", err)
	}
	after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if diff := cmp.Diff(before, after); err != nil || diff != "" {
		t.Errorf("our terminal, %v (-before +after):\n%s", err, diff)
	}
	release(t, master, slave)
	reading.Wait()
	for _, want := range []string{"31 97", "type xterm-test"} {
		if !strings.Contains(seen.String(), want) {
			t.Errorf("no %q on the screen:\n%s", want, &seen)
		}
	}
}

// A new size of our terminal reaches the one in the guest.
func TestShellResize(t *testing.T) {
	dial, _ := serve(t)
	c := connect(t, dial())
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	seen := make(chan string)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(seen)
		for lines := bufio.NewScanner(master); lines.Scan(); {
			seen <- strings.TrimSpace(lines.Text())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	shell := make(chan error, 1)
	go func() { shell <- c.Shell(ctx, slave, slave, slave) }()

	// A shell that is not interactive stays in the foreground group, which is the
	// one that the kernel tells of the size.
	script := "exec sh -c 'trap \"stty size\" WINCH; echo ready; while :; do sleep 0.05; done'\r"
	if _, err := io.WriteString(master, script); err != nil {
		t.Fatal(err)
	}
	for open := true; open; {
		var line string
		select {
		case line, open = <-seen:
		case <-ctx.Done():
			master.Close()
			t.Fatal("the new size did not arrive")
		}
		switch {
		case strings.HasSuffix(line, "ready"): // behind the prompt
			if err := pty.Setsize(master, &pty.Winsize{Rows: 11, Cols: 22}); err != nil {
				t.Error(err)
			}
			// The kernel signals a terminal's own processes, of which we are none here.
			if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
				t.Error(err)
			}
		case line == "11 22":
			if _, err := io.WriteString(master, "\x03"); err != nil {
				t.Error(err)
			}
			var exit *ExitError
			if err := <-shell; !errors.As(err, &exit) || exit.Signal != "INT" {
				t.Errorf("Shell = %v, want the end by Ctrl-C", err)
			}
			release(t, master, slave)
		}
	}
	reading.Wait()
}

// release ends the goroutines that read a terminal: the one that SSH leaves
// behind takes one more line, the one of the master ends with the last slave.
func release(t *testing.T, master, slave *os.File) {
	t.Helper()
	if _, err := io.WriteString(master, "\n"); err != nil {
		t.Fatal(err)
	}
	if err := slave.Close(); err != nil {
		t.Error(err)
	}
}

// socketPair is a connection that buffers as vsock does: both sides of SSH write
// before they read.
func socketPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("unix", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}
