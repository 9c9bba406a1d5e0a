package toolchain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// askTimeout is how long a QEMU has to say what it is. It takes 60 ms here;
	// the first time from a cold disk, seconds.
	askTimeout = 60 * time.Second
	// maxAnswer bounds what it may say; the list of devices has 40 kB.
	maxAnswer = 4 << 20
)

// ask runs the program to learn its version and which of [Devices] it lacks.
func (q *QEMU) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout,
		fmt.Errorf("QEMU %s does not answer in %v", q.Path, askTimeout))
	defer cancel()
	out, err := q.output(ctx, "--version")
	if err != nil {
		return err
	}
	// QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1)
	_, after, ok := strings.Cut(out, "QEMU emulator version ")
	if f := strings.Fields(after); ok && len(f) > 0 {
		q.Version = strings.TrimRight(f[0], ",")
	}
	if q.Version == "" {
		return fmt.Errorf("ask QEMU %s for its version: it says %.100q", q.Path, out)
	}
	if out, err = q.output(ctx, "-device", "help"); err != nil {
		return err
	}
	q.missing = nil
	for _, d := range Devices {
		if !strings.Contains(out, fmt.Sprintf("name %q", d)) {
			q.missing = append(q.missing, d)
		}
	}
	return nil
}

// output runs the program and gives what it says.
func (q *QEMU) output(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := q.Command(ctx, args...)
	stdout, stderr := bounded{full: cancel}, bounded{full: cancel}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		said, _, _ := strings.Cut(strings.TrimSpace(stderr.buf.String()), "\n")
		if said != "" {
			return "", fmt.Errorf("run QEMU %s %s: %w: %.200s", q.Path, strings.Join(args, " "), err, said)
		}
		return "", fmt.Errorf("run QEMU %s %s: %w", q.Path, strings.Join(args, " "), err)
	}
	return stdout.buf.String(), nil
}

// A bounded buffer keeps at most maxAnswer bytes. After that it ends the
// program: one whose output nobody reads any more would wait for ever. The buffer
// is not embedded, since its ReadFrom would go round the bound.
type bounded struct {
	buf  bytes.Buffer
	full context.CancelCauseFunc
}

var errTooMuch = errors.New("it says too much")

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > maxAnswer {
		b.full(errTooMuch)
		return 0, errTooMuch
	}
	return b.buf.Write(p)
}

// askFile gives a QEMU that is one program, and remembers the answer in the
// cache for as long as the program is unchanged: asking takes 100 ms. A script is
// asked each time, since what it starts can change without it.
func (s *store) askFile(ctx context.Context, source Source, path string) (*QEMU, error) {
	q := &QEMU{Source: source, Path: path, Argv: []string{path}}
	file, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("use QEMU %s: %w", path, err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("use QEMU %s: %w", path, err)
	}
	st, err := stampOf(info)
	if err != nil {
		return nil, err
	}
	known := map[string]answer{}
	_ = readJSON(s.path(answersFile), &known) // none that can be read is none
	if a, ok := known[file]; ok && a.stamp == st && a.Devices == strings.Join(Devices, ",") {
		q.Version, q.missing = a.Version, a.Missing
		return q, nil
	}
	if err := q.ask(ctx); err != nil {
		return nil, err
	}
	if checkProgram(file) == nil {
		known[file] = answer{Version: q.Version, Missing: q.missing, Devices: strings.Join(Devices, ","), stamp: st}
		s.remember(known)
	}
	return q, nil
}

// answersFile holds what programs outside the cache have answered.
const answersFile = "answers.json"

// An answer is what a program said when it had the stamp.
type answer struct {
	Version string   `json:"version"`
	Missing []string `json:"missing,omitempty"`
	Devices string   `json:"devices"` // that it was asked for
	stamp
}

// remember writes answers. If it cannot, they are asked for again next time.
func (s *store) remember(known map[string]answer) {
	const most = 32
	for file := range known {
		if _, err := os.Stat(file); err != nil || len(known) > most {
			delete(known, file)
		}
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return
	}
	_ = writeJSON(s.path(answersFile), known)
}

// systemQEMU looks for a QEMU on the search path. It gives nil if there is
// none that will do, which it tells but is no error.
func (s *store) systemQEMU(ctx context.Context) (*QEMU, error) {
	path, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return nil, nil
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, nil
	}
	q, err := s.askFile(ctx, System, path)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		s.opts.Progress.Note(fmt.Sprintf("not used: %v", err))
		return nil, nil
	}
	if len(q.missing) > 0 {
		return nil, nil
	}
	return q, nil
}

// explicitQEMU gives the QEMU that the caller named.
func (s *store) explicitQEMU(ctx context.Context) (*QEMU, error) {
	path, err := exec.LookPath(s.opts.QEMU)
	if err != nil {
		return nil, fmt.Errorf("use QEMU %s: %w", s.opts.QEMU, err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("use QEMU %s: %w", s.opts.QEMU, err)
	}
	q, err := s.askFile(ctx, Explicit, path)
	if err != nil {
		return nil, err
	}
	if len(q.missing) > 0 {
		return nil, &MissingDevicesError{Path: path, Version: q.Version, Missing: q.missing}
	}
	return q, nil
}
