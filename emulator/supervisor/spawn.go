package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"
)

// A StartError is what kept a supervisor from starting its enclave, in its own
// words.
type StartError struct{ Text string }

func (e *StartError) Error() string { return e.Text }

// abandonTimeout is how long a supervisor may take to give up when it is told
// to. It takes 0.2 s; then it is killed, which leaves nothing either.
const abandonTimeout = 30 * time.Second

// Spawn starts a supervisor and waits until its enclave has sent its heartbeat.
// Until then the supervisor ends with its caller: when ctx ends, and when the
// caller is killed. Afterwards it lives on by itself. Progress is told line by
// line.
//
// What the supervisor says went wrong is a [*StartError]. When Spawn fails
// nothing is left.
func Spawn(ctx context.Context, order Order, progress func(string)) (Description, error) {
	s, err := spawn()
	if err != nil {
		return Description{}, fmt.Errorf("start supervisor: %w", err)
	}
	stop := context.AfterFunc(ctx, s.abandon)
	d, err := s.wait(order, progress)
	// Either ctx ended first, and the supervisor was told to give up, or it gets
	// its release.
	if stop() && err == nil {
		if err = s.release(); err == nil {
			return d, nil
		}
	}
	s.abandon()
	ended := s.join()
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, errSilent):
		err = fmt.Errorf("the process that looks after the enclave ended before the enclave ran (%s)", ended)
	}
	return Description{}, err
}

// errSilent says that a supervisor ended without a word.
var errSilent = errors.New("no report")

// spawned is a supervisor that has not been released.
type spawned struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.ReadCloser
}

func spawn() (*spawned, error) {
	// This program, even if another has taken its place on the disk.
	cmd := exec.Command("/proc/self/exe", Command)
	cmd.Args[0] = "nitrolab"
	// Its own session: Ctrl-C and the end of the terminal are not meant for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &spawned{cmd, stdin, stdout}, cmd.Start()
}

// wait gives the order and follows the reports until the enclave runs.
func (s *spawned) wait(order Order, progress func(string)) (Description, error) {
	if err := json.NewEncoder(s.stdin).Encode(order); err != nil {
		return Description{}, errSilent // it does not read
	}
	reports := json.NewDecoder(s.stdout)
	for {
		var r report
		if err := reports.Decode(&r); err != nil {
			return Description{}, errSilent
		}
		switch {
		case r.Ready != nil:
			return *r.Ready, nil
		case r.Error != "":
			return Description{}, &StartError{Text: r.Error}
		case r.Progress != "":
			progress(r.Progress)
		}
	}
}

// release lets the supervisor live.
func (s *spawned) release() error {
	if err := json.NewEncoder(s.stdin).Encode(release{true}); err != nil {
		return errSilent
	}
	_ = s.stdin.Close()
	_ = s.stdout.Close()
	return s.cmd.Process.Release()
}

// abandon tells the supervisor to give up: the end of its input, before it was
// released, is the end of its caller.
func (s *spawned) abandon() { _ = s.stdin.Close() }

// join waits for the end of a supervisor that was told to give up, and says how
// it ended.
func (s *spawned) join() string {
	kill := time.AfterFunc(abandonTimeout, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	_, _ = io.Copy(io.Discard, s.stdout) // or it would wait for a reader
	_ = s.cmd.Wait()
	return s.cmd.ProcessState.String()
}
