package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The end-to-end tests run the built command as its users do.

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(built.dir)
		os.Exit(code)
	}))
}

// patience bounds every wait for what takes no virtual machine, boot what takes
// one. A TCG guest on a loaded machine takes its time.
const (
	patience = 30 * time.Second
	boot     = 4 * time.Minute
)

// vm begins a test with virtual machines, two at a time: more only make each
// other's waits longer.
func vm(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("VM test: not part of the quick run")
	}
	t.Parallel()
	slots <- struct{}{}
	t.Cleanup(func() { <-slots })
}

var slots = make(chan struct{}, 2)

// built is what the tests of this process share: the command, and images.
var built struct {
	dir  string
	once sync.Once
	err  error
}

// buildOnce builds the command and the two sample images into built.dir.
func buildOnce(t *testing.T) {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "nl-built"); built.err != nil {
			return
		}
		for _, args := range [][]string{
			{"go", "build", "-o", filepath.Join(built.dir, "nitrolab"), "."},
			// In this module's folder: the command carries no guest programs.
			{filepath.Join(built.dir, "nitrolab"), "eif", "sample", "--output-file", filepath.Join(built.dir, "app.eif")},
			{filepath.Join(built.dir, "nitrolab"), "eif", "sample", "--shell", "--output-file", filepath.Join(built.dir, "shell.eif")},
		} {
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				built.err = fmt.Errorf("%q: %w\n%s", args, err, out)
				return
			}
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
}

// A world is a user with a home of their own, and the command in it under a name
// of its own, by which its processes are known.
type world struct {
	t    *testing.T
	home string
	bin  string
	work string // the current directory of commands
	env  []string
}

// newWorld makes one. When the test ends nothing of it may be left.
func newWorld(t *testing.T) *world {
	t.Helper()
	buildOnce(t)
	home, err := os.MkdirTemp("", "nl") // short: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, home: home, bin: filepath.Join(home, "nitrolab"), work: filepath.Join(home, "my work")}
	run := filepath.Join(home, "run")
	for _, dir := range []string{w.work, run} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(built.dir, "nitrolab"), w.bin); err != nil {
		t.Fatal(err)
	}
	w.env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(home, "state"), "XDG_RUNTIME_DIR="+run)
	t.Cleanup(func() {
		if t.Failed() {
			w.run("terminate-enclave", "--all")
		}
		w.wantNothing()
		if t.Failed() {
			t.Logf("kept: %s", home)
			return
		}
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	return w
}

// command prepares a command in the world's current directory.
func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(w.bin, args...)
	cmd.Dir, cmd.Env = w.work, w.env
	return cmd
}

// run runs a command to its end.
func (w *world) run(args ...string) result {
	w.t.Helper()
	return w.start("", args...).wait()
}

// ok is run for a command that has to succeed; it returns its output.
func (w *world) ok(args ...string) string {
	w.t.Helper()
	r := w.run(args...)
	if r.code != 0 {
		w.t.Fatalf("nitrolab %q: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// A running command.
type running struct {
	w              *world
	cmd            *exec.Cmd
	stdout, stderr output
	done           chan struct{}
}

// output can be looked at while it is written.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (w *world) start(stdin string, args ...string) *running {
	w.t.Helper()
	return w.startCommand(stdin, w.command(args...))
}

func (w *world) startCommand(stdin string, cmd *exec.Cmd) *running {
	w.t.Helper()
	r := &running{w: w, cmd: cmd, done: make(chan struct{})}
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = strings.NewReader(stdin), &r.stdout, &r.stderr
	if err := r.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer close(r.done)
		_ = r.cmd.Wait() // the state has its exit code
	}()
	w.t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.done
	})
	return r
}

func (r *running) signal(s syscall.Signal) {
	r.w.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.w.t.Fatal(err)
	}
}

func (r *running) wait() result {
	r.w.t.Helper()
	select {
	case <-r.done:
	case <-time.After(boot):
		r.w.t.Fatalf("%q does not end:\n%s%s", r.cmd.Args, r.stdout.String(), r.stderr.String())
	}
	return result{r.cmd.ProcessState.ExitCode(), r.stdout.String(), r.stderr.String()}
}

// until waits for a condition that nothing announces.
func (w *world) until(what string, limit time.Duration, met func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("%s did not happen within %v", what, limit)
		}
	}
}

// processes are those of the world: they run its command, or a QEMU that boots
// what is in one of its state directories.
func (w *world) processes() (all []string) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		dir := filepath.Join("/proc", e.Name())
		exe, err := os.Readlink(filepath.Join(dir, "exe"))
		if err != nil {
			continue // a zombie has no program, and is nobody's problem
		}
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if strings.HasPrefix(exe, w.home+"/") || bytes.Contains(line, []byte(w.home+"/run/")) {
			all = append(all, e.Name()+" "+string(bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
		}
	}
	return all
}

// qemu reports whether a QEMU of the world runs.
func (w *world) qemu() bool {
	for _, p := range w.processes() {
		if strings.Contains(p, "-initrd ") {
			return true
		}
	}
	return false
}

// wantNothing fails the test unless every process and state directory of the
// world is gone, or goes soon.
func (w *world) wantNothing() {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		processes := w.processes()
		dirs, err := filepath.Glob(filepath.Join(w.home, "run", "nitrolab", "*.state"))
		if err != nil {
			w.t.Fatal(err)
		}
		if len(processes)+len(dirs) == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.t.Errorf("left: processes %q, directories %q", processes, dirs)
			return
		}
		<-tick.C
	}
}

// image is the path of a shared image, by a name of the world's own.
func (w *world) image(name string) string {
	w.t.Helper()
	path := filepath.Join(w.work, name)
	if err := os.Link(filepath.Join(built.dir, name), path); err != nil && !errors.Is(err, os.ErrExist) {
		w.t.Fatal(err)
	}
	return path
}

// write writes a file of the world's.
func (w *world) write(name string, content []byte) string {
	w.t.Helper()
	path := filepath.Join(w.work, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// read returns a file, or why it cannot be read.
func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
