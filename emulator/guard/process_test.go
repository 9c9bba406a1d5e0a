package guard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func start(t *testing.T, cfg Config) *Process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func sh(script string) Config { return Config{Path: "sh", Args: []string{"-c", script}} }

func TestStatus(t *testing.T) {
	tests := []struct {
		name   string
		script string
		code   int
		signal syscall.Signal
		text   string
	}{
		{"success", "exit 0", 0, 0, "exit status 0"},
		{"exit code", "exit 77", 77, 0, "exit status 77"},
		{"crash", "kill -SEGV $$", -1, syscall.SIGSEGV, "signal: segmentation fault"},
		{"terminated", "kill -TERM $$", -1, syscall.SIGTERM, "signal: terminated"},
		{"leaves a daemon behind", "(setsid sleep 1000 &) ; exit 5", 5, 0, "exit status 5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, sh(tt.script))
			st, err := p.Wait()
			if err != nil {
				t.Fatal(err)
			}
			if st.Code() != tt.code || st.Signal() != tt.signal || st.String() != tt.text || st.Success() != (tt.code == 0) {
				t.Errorf("status %q (code %d, signal %d), want %q", st, st.Code(), st.Signal(), tt.text)
			}
			if err := p.Kill(); err != nil {
				t.Errorf("Kill() after the end = %v", err)
			}
			if strays := strays(p); len(strays) > 0 {
				t.Errorf("left behind:%s", describe(strays))
			}
		})
	}
}

// strays lists live processes that descend from p's child.
func strays(p *Process) []int {
	return slices.DeleteFunc(processes(), func(pid int) bool { return !isStray(pid, -1, p.id) })
}

func TestStartFails(t *testing.T) {
	dir := t.TempDir()
	notExec := filepath.Join(dir, "text")
	if err := os.WriteFile(notExec, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	tests := []struct {
		name string
		ctx  context.Context
		cfg  Config
		want error // nil: any
	}{
		{"no path", nil, Config{}, nil},
		{"not found", nil, Config{Path: "no-such-program"}, nil},
		{"missing file", nil, Config{Path: filepath.Join(dir, "none")}, fs.ErrNotExist},
		{"no program", nil, Config{Path: notExec}, syscall.ENOEXEC},
		{"no such directory", nil, Config{Path: "true", Dir: filepath.Join(dir, "none")}, fs.ErrNotExist},
		{"nil file", nil, Config{Path: "true", Files: []*os.File{nil}}, nil},
		{"relative removal", nil, Config{Path: "true", Remove: []string{"x"}}, nil},
		{"removal of the root", nil, Config{Path: "true", Remove: []string{"/tmp/.."}}, nil},
		{"cancelled", cancelled, Config{Path: "true"}, context.Canceled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx := tt.ctx
			if ctx == nil {
				ctx = context.Background()
			}
			p, err := Start(ctx, tt.cfg)
			if err == nil {
				_ = p.Close()
				t.Fatal("Start succeeded")
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("Start() = %v, want %v", err, tt.want)
			}
			if kids := childrenOf(os.Getpid()); len(kids) > 0 {
				t.Errorf("left behind:%s", describe(kids))
			}
		})
	}
	goleak.VerifyNone(t)
}

// TestCancelKeepsPaths: the owner that gives up on Start is not dead.
func TestCancelKeepsPaths(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keep")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*3*time.Millisecond)
		cfg := sh("exec sleep 1000")
		cfg.Remove = []string{dir}
		p, err := Start(ctx, cfg)
		cancel()
		if err == nil {
			_ = p.Close()
		}
	}
	if !exists(dir) {
		t.Error("a cancelled Start removed the owner's directory")
	}
}

func TestStreams(t *testing.T) {
	cfg := sh("cat; echo oops >&2")
	cfg.Stdin = strings.NewReader("in and out")
	var out, errs bytes.Buffer
	cfg.Stdout, cfg.Stderr = &out, &errs
	p := start(t, cfg)
	if st, err := p.Wait(); err != nil || !st.Success() {
		t.Fatalf("ended with %v, %v", st, err)
	}
	if got, want := out.String()+"|"+errs.String(), "in and out|oops\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
}

// TestFiles: numbers are kept, nothing else leaks in, and the other ends see the
// child's close.
func TestFiles(t *testing.T) {
	leak, err := os.Open(os.DevNull) // a descriptor without close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	if _, err := unix.FcntlInt(leak.Fd(), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	const n = 4
	var readers, writers []*os.File
	for range n {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		readers, writers = append(readers, r), append(writers, w)
	}
	var out bytes.Buffer
	cfg := sh(`for i in 3 4 5 6; do eval "echo file $i >&$i"; done; ls /proc/$$/fd; exec 3>&-; sleep 1000`)
	cfg.Files = writers
	cfg.Stdout = &out
	p := start(t, cfg)
	for i, w := range writers {
		_ = w.Close()
		line := make([]byte, 64)
		m, err := readers[i].Read(line)
		if want := fmt.Sprintf("file %d\n", 3+i); err != nil || string(line[:m]) != want {
			t.Errorf("descriptor %d: %q, %v; want %q", 3+i, line[:m], err, want)
		}
	}
	// The child closed 3 and lives on; no guard may hold it open.
	_ = readers[0].SetReadDeadline(time.Now().Add(patience))
	if _, err := readers[0].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the child closed it, descriptor 3 reads %v, want EOF", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{"0", "1", "2", "3", "4", "5", "6"}
	if diff := cmp.Diff(want, strings.Fields(out.String())); diff != "" {
		t.Errorf("descriptors of the child (-want +got):\n%s", diff)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv(guardEnv, "keeper:0")
	var out bytes.Buffer
	cfg := sh(`echo "$A|$NITROLAB_GUARD|$0"; pwd`)
	cfg.Env = []string{"A=b c", guardEnv + "=spare:0", "PATH=" + os.Getenv("PATH")}
	cfg.Dir = t.TempDir()
	cfg.Stdout = &out
	if st, err := start(t, cfg).Wait(); err != nil || !st.Success() {
		t.Fatalf("ended with %v, %v", st, err)
	}
	if got, want := out.String(), "b c||sh\n"+cfg.Dir+"\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
}

// TestLargeArguments: they pass a pipe's 64 KiB.
func TestLargeArguments(t *testing.T) {
	var out bytes.Buffer
	cfg := sh(`echo ${#1} ${#2}`)
	cfg.Args = append(cfg.Args, "sh", strings.Repeat("x", 100_000), strings.Repeat("y", 120_000))
	cfg.Stdout = &out
	if st, err := start(t, cfg).Wait(); err != nil || !st.Success() {
		t.Fatalf("ended with %v, %v", st, err)
	}
	if got, want := out.String(), "100000 120000\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
}

// TestDefaultSignals: the guards' handling of signals must not reach the child.
func TestDefaultSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1} {
		p := start(t, Config{Path: "sleep", Args: []string{"1000"}})
		if err := p.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if st, err := p.Wait(); err != nil || st.Signal() != sig {
			t.Errorf("after %v the child ended with %v, %v", sig, st, err)
		}
	}
}

// TestKillChild: Kill reaches all, Remove is not for an owner that lives.
func TestKillChild(t *testing.T) {
	dir := t.TempDir()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cfg := sh(family)
	cfg.Stdout = w
	cfg.Remove = []string{dir}
	p := start(t, cfg)
	_ = w.Close()
	eventually(t, "the family is complete", func() bool { return len(strays(p)) >= familyMin })
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	st, err := p.Wait()
	if err != nil || st.Signal() != syscall.SIGKILL {
		t.Errorf("ended with %v, %v; want %v", st, err, syscall.SIGKILL)
	}
	if left := strays(p); len(left) > 0 {
		t.Errorf("left behind:%s", describe(left))
	}
	if !exists(dir) {
		t.Error("the living owner's directory is gone")
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestNoGoroutineLeft(t *testing.T) {
	p := start(t, sh("exec sleep 1000"))
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t)
}

// BenchmarkStart is what the guards cost: both processes started, the child
// executed, all of it killed again.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		p, err := Start(context.Background(), Config{Path: "sleep", Args: []string{"1000"}})
		if err != nil {
			b.Fatal(err)
		}
		if err := p.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
