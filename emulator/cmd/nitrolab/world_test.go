package main

import (
	"bytes"
	"context"
	"encoding/json"
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

	"github.com/nitrolab/nitrolab/emulator/supervisor"
)

// The end-to-end tests run the built command as its users do.

func TestMain(m *testing.M) {
	if os.Getenv(fakeEnv) != "" {
		os.Exit(beCommand())
	}
	if len(os.Args) > 1 && os.Args[1] == supervisor.Command {
		os.Exit(1) // a supervisor of this process: never the whole suite again
	}
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

// buildOnce builds the command, with the guest programs inside as its users have it,
// and the two sample images into built.dir.
func buildOnce(t *testing.T) {
	t.Helper()
	built.once.Do(func() { built.err = build() })
	if built.err != nil {
		t.Fatal(built.err)
	}
}

func build() (err error) {
	if built.dir, err = os.MkdirTemp("", "nl-built"); err != nil {
		return err
	}
	const guestprog = "../../../images/guestprog"
	programs, overlay := filepath.Join(built.dir, "programs"), filepath.Join(built.dir, "overlay.json")
	if err := command("go", "run", guestprog+"/fill", programs); err != nil {
		return err
	}
	if err := writeOverlay(overlay, guestprog+"/bin", programs); err != nil {
		return err
	}
	bin := filepath.Join(built.dir, "nitrolab")
	for _, args := range [][]string{
		{"go", "build", "-tags", "embedguest", "-overlay", overlay, "-o", bin, "."},
		{bin, "eif", "sample", "--output-file", filepath.Join(built.dir, "app.eif")},
		{bin, "eif", "sample", "--shell", "--output-file", filepath.Join(built.dir, "shell.eif")},
	} {
		if err := command(args...); err != nil {
			return err
		}
	}
	return nil
}

// writeOverlay makes the go command see the files of a folder in another one, whose
// own files stay as they are: somebody may be building there.
func writeOverlay(path, in, from string) error {
	in, err := filepath.Abs(in)
	if err != nil {
		return err
	}
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	replace := map[string]string{}
	for _, f := range files {
		replace[filepath.Join(in, f.Name())] = filepath.Join(from, f.Name())
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

func command(args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%q: %w\n%s", args, err, out)
	}
	return nil
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
	return makeWorld(t, filepath.Join(built.dir, "nitrolab"))
}

// makeWorld is newWorld with a program that is the command.
func makeWorld(t *testing.T, program string) *world {
	t.Helper()
	home, err := os.MkdirTemp("", "nl") // short: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, home: home, bin: filepath.Join(home, "nitrolab"), work: filepath.Join(home, "my work")}
	run, tmp := filepath.Join(home, "run"), filepath.Join(home, "tmp")
	for _, dir := range []string{w.work, run, tmp} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(program, w.bin); err != nil {
		t.Fatal(err)
	}
	w.env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(home, "state"), "XDG_RUNTIME_DIR="+run, "TMPDIR="+tmp)
	t.Cleanup(func() {
		if t.Failed() {
			w.run("terminate", "--all")
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

// processes are those of the world: they run its command, or have its folder of
// temporary files, which QEMU gets too.
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
		env, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if strings.HasPrefix(exe, w.home+"/") || bytes.Contains(env, []byte("TMPDIR="+w.home+"/")) {
			all = append(all, e.Name()+" "+string(bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
		}
	}
	return all
}

// qemu reports whether a QEMU of the world runs.
func (w *world) qemu() bool {
	for _, p := range w.processes() {
		if strings.Contains(p, "qemu-system-") && strings.Contains(p, " -qmp ") {
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
