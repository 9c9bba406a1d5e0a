package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/nitrolab/nitrolab/guest/agent"
	"github.com/nitrolab/nitrolab/guest/agent/files"
)

const deadline = 20 * time.Second

// serve starts a server and returns a function that connects to it. When the
// test ends, the server must end with everything it started.
func serve(t *testing.T, cfg *agent.Config) (dial func() *ssh.Client) {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := agent.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-served:
			if err != nil {
				t.Errorf("Serve = %v", err)
			}
		case <-time.After(deadline):
			t.Error("Serve did not end")
		}
	})
	return func() *ssh.Client {
		t.Helper()
		c, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(deadline)); err != nil {
			t.Fatal(err)
		}
		conn, channels, requests, err := ssh.NewClientConn(c, "guest", &ssh.ClientConfig{HostKeyCallback: ssh.InsecureIgnoreHostKey()})
		if err != nil {
			t.Fatal(err)
		}
		client := ssh.NewClient(conn, channels, requests)
		t.Cleanup(func() { client.Close() })
		return client
	}
}

func session(t *testing.T, c *ssh.Client) *ssh.Session {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestExec(t *testing.T) {
	tests := []struct {
		name    string
		command string
		env     map[string]string
		stdin   string
		stdout  string
		stderr  string
		status  int
		signal  string
	}{
		{name: "two outputs", command: "echo out; echo err >&2", stdout: "out\n", stderr: "err\n"},
		{name: "exit status", command: "exit 7", status: 7},
		{name: "killed", command: "kill -KILL $$", signal: "KILL"},
		{name: "signal without a name in the RFC", command: "kill -BUS $$", signal: "KILL"},
		{name: "input and its end", command: "cat; echo done", stdin: "in\n", stdout: "in\ndone\n"},
		{name: "environment", command: `echo "$A-$B"`, env: map[string]string{"A": "client"}, stdout: "client-server\n"},
		{name: "not found", command: "/no/such/program", stderr: "not found", status: 127},
		{name: "large output", command: "head -c 3000000 /dev/zero", stdout: strings.Repeat("\x00", 3000000)},
		{name: "input that is not read", command: "true", stdin: strings.Repeat("x", 1<<20)},
	}
	dial := serve(t, &agent.Config{Env: []string{"PATH=/usr/bin:/bin", "B=server"}})
	client := dial()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := session(t, client)
			for k, v := range tt.env {
				if err := s.Setenv(k, v); err != nil {
					t.Fatal(err)
				}
			}
			var stdout, stderr bytes.Buffer
			s.Stdin, s.Stdout, s.Stderr = strings.NewReader(tt.stdin), &stdout, &stderr
			err := s.Run(tt.command)

			var exit *ssh.ExitError
			switch {
			case tt.status == 0 && tt.signal == "":
				// Input that nobody reads may fail to be sent; the rest counts.
				if err != nil && !errors.Is(err, io.EOF) {
					t.Errorf("error %v", err)
				}
			case !errors.As(err, &exit):
				t.Errorf("error %v, want an exit", err)
			case exit.Signal() != tt.signal || tt.signal == "" && exit.ExitStatus() != tt.status:
				t.Errorf("status %d signal %q, want %d %q", exit.ExitStatus(), exit.Signal(), tt.status, tt.signal)
			}
			if got := stdout.String(); got != tt.stdout {
				t.Errorf("stdout has %d bytes %.40q, want %d bytes %.40q", len(got), got, len(tt.stdout), tt.stdout)
			}
			if !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("stderr %q, want %q", stderr.String(), tt.stderr)
			}
		})
	}
}

// Of subsystems there is one, which wants no terminal.
func TestSubsystem(t *testing.T) {
	client := serve(t, nil)()
	if err := session(t, client).RequestSubsystem("sftp"); err == nil {
		t.Error("another subsystem was accepted")
	}
	s := session(t, client)
	if err := s.RequestPty("vt100", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.RequestSubsystem(files.Subsystem); err == nil {
		t.Error("a copy on a terminal was accepted")
	}
	ch, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	payload := ssh.Marshal(struct{ Name string }{files.Subsystem})
	if ok, err := ch.SendRequest("subsystem", true, payload); err != nil || !ok {
		t.Fatalf("subsystem: %v, %v", ok, err)
	}
	if _, err := files.Get(ch, "/no/such/file", io.Discard); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want ErrNotExist", err)
	}
	req := <-requests
	if diff := cmp.Diff(&ssh.Request{Type: "exit-status", Payload: []byte{0, 0, 0, 1}}, req, cmpopts.IgnoreUnexported(ssh.Request{})); diff != "" {
		t.Errorf("end of a copy that failed (-want +got):\n%s", diff)
	}
	if err := session(t, client).Run("true"); err != nil {
		t.Errorf("a program after that: %v", err)
	}
}

// Without a shell, as in an image with one program, commands still run.
func TestExecWithoutShell(t *testing.T) {
	client := serve(t, &agent.Config{Shell: "/no/such/shell"})()

	got, err := session(t, client).Output("/bin/echo  a 'b c'")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("a 'b c'\n", string(got)); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}

	var exit *ssh.ExitError
	stderr := new(bytes.Buffer)
	s := session(t, client)
	s.Stderr = stderr
	if err := s.Run(""); !errors.As(err, &exit) || exit.ExitStatus() != 127 {
		t.Errorf("empty command: %v, want status 127", err)
	}
	if !strings.HasPrefix(stderr.String(), "agent: start") {
		t.Errorf("empty command: stderr %q", stderr)
	}
}

func TestSessionsRunConcurrently(t *testing.T) {
	client := serve(t, nil)()
	const n = 8
	var stdin [n]io.WriteCloser
	var stdout [n]io.Reader
	for i := range n {
		s := session(t, client)
		stdin[i], _ = s.StdinPipe()
		stdout[i], _ = s.StdoutPipe()
		if err := s.Start("cat"); err != nil {
			t.Fatal(err)
		}
	}
	// In reverse order: no session waits for another.
	for i := n - 1; i >= 0; i-- {
		want := "session " + strconv.Itoa(i)
		if _, err := io.WriteString(stdin[i], want); err != nil {
			t.Fatal(err)
		}
		stdin[i].Close()
		got, err := io.ReadAll(stdout[i])
		if err != nil || string(got) != want {
			t.Errorf("read %q, %v, want %q", got, err, want)
		}
	}
}

func TestSignal(t *testing.T) {
	client := serve(t, nil)()
	s := session(t, client)
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.05; done"); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stdout, "ready\n")
	if err := s.Signal(ssh.SIGTERM); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stdout, "got\n")
	var exit *ssh.ExitError
	if err := s.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 3 {
		t.Errorf("Wait = %v, want status 3", err)
	}
}

// What a client leaves running dies with its channel, children included.
func TestCloseKillsGroup(t *testing.T) {
	tests := []struct {
		name string
		pty  bool
		hang func(c *ssh.Client, s *ssh.Session)
	}{
		{name: "channel", hang: func(_ *ssh.Client, s *ssh.Session) { s.Close() }},
		{name: "connection", hang: func(c *ssh.Client, _ *ssh.Session) { c.Close() }},
		{name: "terminal", pty: true, hang: func(_ *ssh.Client, s *ssh.Session) { s.Close() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client := serve(t, nil)()
			s := session(t, client)
			stdout, err := s.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if tt.pty {
				if err := s.RequestPty("vt100", 25, 80, nil); err != nil {
					t.Fatal(err)
				}
			}
			// The child ignores hang-up, so that only a kill ends it.
			if err := s.Start("trap '' HUP; sleep 1000 & echo $!; wait"); err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(readUntil(t, stdout, "\n")))
			if err != nil {
				t.Fatal(err)
			}
			tt.hang(client, s)
			waitGone(t, pid)
		})
	}
}

// A program that ended is over, also if something it left holds its output.
func TestBackgroundDoesNotHoldSession(t *testing.T) {
	client := serve(t, nil)()
	start := time.Now()
	out, err := session(t, client).Output("sleep 1000 & echo $!")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGKILL)
	if d := time.Since(start); d > deadline/2 {
		t.Errorf("session took %v", d)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("background process: %v, want it to live on", err)
	}
}

func TestTerminal(t *testing.T) {
	client := serve(t, &agent.Config{Env: []string{"PATH=/usr/bin:/bin"}})()
	s := session(t, client)
	stdin, _ := s.StdinPipe()
	stdout, _ := s.StdoutPipe()
	if err := s.RequestPty("xterm-test", 33, 101, ssh.TerminalModes{ssh.ECHO: 1}); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(`trap 'echo size $(stty size)' WINCH; echo $TERM $(stty size); while :; do read x && exit 5; done`); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stdout, "xterm-test 33 101\r\n")
	if err := s.WindowChange(20, 70); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stdout, "size 20 70\r\n")
	if _, err := io.WriteString(stdin, "x\r"); err != nil {
		t.Fatal(err)
	}
	var exit *ssh.ExitError
	if err := s.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 5 {
		t.Errorf("Wait = %v, want status 5", err)
	}
}

func TestShell(t *testing.T) {
	client := serve(t, nil)()
	s := session(t, client)
	s.Stdin = strings.NewReader("echo $((6*7))\nexit 4\n")
	var stdout bytes.Buffer
	s.Stdout = &stdout
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	var exit *ssh.ExitError
	if err := s.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 4 {
		t.Errorf("Wait = %v, want status 4", err)
	}
	if got := stdout.String(); !strings.Contains(got, "42\n") {
		t.Errorf("stdout %q, want 42", got)
	}
}

func TestRefused(t *testing.T) {
	client := serve(t, nil)()

	var open *ssh.OpenChannelError
	if _, _, err := client.OpenChannel("direct-tcpip", nil); !errors.As(err, &open) || open.Reason != ssh.UnknownChannelType {
		t.Errorf("direct-tcpip: %v, want refusal", err)
	}
	if ok, _, err := client.SendRequest("tcpip-forward", true, nil); ok || err != nil {
		t.Errorf("tcpip-forward = %v, %v, want refusal", ok, err)
	}
	if err := session(t, client).RequestSubsystem("sftp"); err == nil {
		t.Error("subsystem: no error")
	}
	for _, name := range []string{"", "A=B", "A\x00"} {
		if err := session(t, client).Setenv(name, "x"); err == nil {
			t.Errorf("variable %q: no error", name)
		}
	}
	if err := session(t, client).Setenv("A", strings.Repeat("x", 1<<17)); err == nil {
		t.Error("large variable: no error")
	}
	s := session(t, client)
	if err := s.Signal(ssh.SIGKILL); err != nil {
		t.Errorf("signal before a program: %v", err) // no reply is asked for
	}
	if ok, err := s.SendRequest("window-change", true, ssh.Marshal(struct{ C, R, W, H uint32 }{})); ok || err != nil {
		t.Errorf("window-change without a terminal = %v, %v, want refusal", ok, err)
	}
	if ok, err := s.SendRequest("exec", true, []byte{0xff, 0xff, 0xff, 0xff}); ok || err != nil {
		t.Errorf("malformed exec = %v, %v, want refusal", ok, err)
	}
	if err := s.Start("sleep 1000"); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.SendRequest("exec", true, ssh.Marshal(struct{ C string }{"true"})); ok || err != nil {
		t.Errorf("second program = %v, %v, want refusal", ok, err)
	}
}

func TestSessionLimit(t *testing.T) {
	client := serve(t, nil)()
	var sessions []*ssh.Session
	for {
		s, err := client.NewSession()
		if err != nil {
			var open *ssh.OpenChannelError
			if !errors.As(err, &open) || open.Reason != ssh.ResourceShortage {
				t.Fatalf("session %d: %v, want resource shortage", len(sessions), err)
			}
			break
		}
		if sessions = append(sessions, s); len(sessions) > 1000 {
			t.Fatal("no limit")
		}
	}
	if len(sessions) != 64 {
		t.Errorf("%d sessions, want 64", len(sessions))
	}
	// One that ends makes room, and others were not disturbed.
	if err := sessions[0].Run("true"); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); ; {
		s, err := client.NewSession()
		if err == nil {
			s.Close()
			break
		}
		if time.Since(start) > deadline {
			t.Fatal("no room after a session ended")
		}
	}
}

// readUntil reads up to and including want and returns all of it.
func readUntil(t *testing.T, r io.Reader, want string) string {
	t.Helper()
	var got []byte
	b := make([]byte, 1)
	for !bytes.HasSuffix(got, []byte(want)) {
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatalf("read %q, then %v, want %q", got, err, want)
		}
		got = append(got, b[0])
	}
	return string(got)
}

// waitGone waits until a process is gone or a zombie that its parent, which is
// not us, has not reaped.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if err := syscall.Kill(pid, 0); err == syscall.ESRCH || zombie(pid) {
			return
		}
		if time.Since(start) > deadline {
			t.Fatalf("process %d still runs", pid)
		}
	}
}
