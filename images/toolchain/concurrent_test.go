package toolchain

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/images/toolchain/debian/debiantest"
)

// helperEnv makes the test binary a process that finds the tool chain in the
// test's archive, or with the value "real" in the machine's own, prints where
// QEMU is, and ends.
const helperEnv = "NITROLAB_TEST_FIND"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		opts := Options{suites: testSuites, Progress: PlainLines(os.Stderr)}
		if os.Getenv(helperEnv) == "real" {
			opts.suites = nil
		}
		tc, err := Find(ctx, opts)
		if err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		fmt.Println(tc.QEMU.Path)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// A finder is a process that finds the tool chain.
type finder struct {
	cmd    *exec.Cmd
	stdout bytes.Buffer
	lines  chan string // of its standard error
}

func startFinder(t *testing.T, opts Options) *finder {
	t.Helper()
	f := &finder{cmd: exec.Command(os.Args[0]), lines: make(chan string, 1000)}
	f.cmd.Env = append(os.Environ(), helperEnv+"=1", EnvCache+"="+opts.CacheDir, EnvMirror+"="+opts.Mirror, EnvKeyring+"="+opts.Keyring)
	f.cmd.Stdout = &f.stdout
	stderr, err := f.cmd.StderrPipe()
	must(t, err)
	must(t, f.cmd.Start())
	t.Cleanup(func() {
		_ = f.cmd.Process.Kill()
		_ = f.cmd.Wait()
	})
	go func() {
		defer close(f.lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			f.lines <- s.Text()
		}
	}()
	return f
}

// wait waits for a line of standard error that has words in it.
func (f *finder) wait(t *testing.T, words string) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case line, ok := <-f.lines:
			if !ok {
				t.Fatalf("the process ended without saying %q", words)
			}
			if strings.Contains(line, words) {
				return
			}
		case <-limit:
			t.Fatalf("the process does not say %q", words)
		}
	}
}

// result waits for its end and gives what it printed.
func (f *finder) result(t *testing.T) string {
	t.Helper()
	var said []string
	for line := range f.lines {
		said = append(said, line)
	}
	if err := f.cmd.Wait(); err != nil {
		t.Fatalf("process: %v\n%s", err, strings.Join(said, "\n"))
	}
	return strings.TrimSpace(f.stdout.String())
}

// hold makes the archive stop at the first request for a package. held is
// closed when it came, release lets it go on.
func hold(r *debiantest.Repo, name string) (held chan struct{}, release func()) {
	held = make(chan struct{})
	gate := make(chan struct{})
	var once sync.Once
	r.Hook(func(w http.ResponseWriter, req *http.Request) {
		if strings.Contains(req.URL.Path, "/pool/"+name) {
			once.Do(func() { close(held) })
			select {
			case <-gate:
			case <-req.Context().Done():
			}
		}
		r.Files(w, req)
	})
	return held, sync.OnceFunc(func() { close(gate) })
}

// TestTwoAtOnce has two processes want the same empty cache filled.
func TestTwoAtOnce(t *testing.T) {
	r := newRepo(t)
	opts := testOptions(t, r)
	held, release := hold(r, qemuPackage)
	defer release()
	first := startFinder(t, opts)
	<-held
	second := startFinder(t, opts)
	second.wait(t, "waiting for another nitrolab (process "+strconv.Itoa(first.cmd.Process.Pid)+")")
	release()
	a, b := first.result(t), second.result(t)
	if a == "" || a != b {
		t.Errorf("one found %q, the other %q", a, b)
	}
	asked := map[string]int{}
	for _, path := range r.Requests() {
		if strings.Contains(path, "/pool/") {
			asked[path]++
		}
	}
	for path, n := range asked {
		if n != 1 {
			t.Errorf("%s was fetched %d times", path, n)
		}
	}
	if len(asked) != 5 {
		t.Errorf("fetched %v, want 5 packages", asked)
	}
}

// TestKilled kills a process with all its work half done, and sees that its
// tools end, that the lock goes with the last of them, and that the next process
// finishes the work.
func TestKilled(t *testing.T) {
	r := newRepo(t)
	opts := testOptions(t, r)
	held, release := hold(r, "libfake1")
	defer release()
	first := startFinder(t, opts)
	<-held
	must(t, first.cmd.Process.Kill())
	_ = first.cmd.Wait() // killed
	r.Hook(nil)
	opts.Progress = PlainLines(testWriter{t})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := Find(ctx, opts); err != nil {
		t.Fatal(err)
	}
	if left := processesWith(t, opts.CacheDir); len(left) > 0 {
		t.Errorf("still running: %q", left)
	}
	left, err := filepath.Glob(filepath.Join(opts.CacheDir, "toolchain", "tmp-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind %q, %v", left, err)
	}
}

// TestInterrupted ends a process in the middle as Ctrl-C does.
func TestInterrupted(t *testing.T) {
	r := newRepo(t)
	opts := testOptions(t, r)
	held, release := hold(r, "libfake1")
	defer release()
	first := startFinder(t, opts)
	<-held
	must(t, first.cmd.Process.Signal(os.Interrupt))
	first.wait(t, "error: ")
	if err := first.cmd.Wait(); err == nil {
		t.Error("the interrupted process says that all is well")
	}
	if left := processesWith(t, opts.CacheDir); len(left) > 0 {
		t.Errorf("still running: %q", left)
	}
	r.Hook(nil)
	r.Requests()
	mustFind(t, opts)
	// apt fetches one after the other from one host; what was whole is kept.
	for _, path := range r.Requests() {
		if strings.Contains(path, "/pool/libc6") {
			t.Errorf("%s was fetched again", path)
		}
	}
}

// processesWith gives the command lines of processes that have words in them or
// in their environment.
func processesWith(t *testing.T, words string) []string {
	t.Helper()
	var out []string
	dirs, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	for _, d := range dirs {
		if filepath.Base(d) == strconv.Itoa(os.Getpid()) {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join(d, "cmdline")) // it may be gone by now
		environ, _ := os.ReadFile(filepath.Join(d, "environ"))
		if bytes.Contains(cmdline, []byte(words)) || bytes.Contains(environ, []byte(words)) {
			out = append(out, string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		}
	}
	return out
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

func TestLockWait(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	held, err := lock(t.Context(), name, func(s string) { t.Errorf("waits for %s", s) })
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var said []string
	_, err = lock(ctx, name, func(s string) {
		said = append(said, s)
		cancel()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	want := []string{fmt.Sprintf("waiting for another nitrolab (process %d) that works on the tool chain", os.Getpid())}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
	must(t, held.Close())
	again, err := lock(t.Context(), name, func(s string) { t.Errorf("waits for %s", s) })
	must(t, err)
	must(t, again.Close())
}

// TestLockOutlivesItsHolder has a child with the lock's file open, as a tool has
// it: closing it here must not release the lock.
func TestLockOutlivesItsHolder(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	held, err := lock(t.Context(), name, func(string) {})
	must(t, err)
	child := exec.Command("cat")
	stdin, err := child.StdinPipe()
	must(t, err)
	child.ExtraFiles = []*os.File{held}
	must(t, child.Start())
	must(t, held.Close())
	told := make(chan struct{})
	got := make(chan error, 1)
	go func() {
		f, err := lock(t.Context(), name, func(string) { close(told) })
		if err == nil {
			err = f.Close()
		}
		got <- err
	}()
	<-told
	must(t, stdin.Close())
	must(t, child.Wait())
	must(t, <-got)
}
