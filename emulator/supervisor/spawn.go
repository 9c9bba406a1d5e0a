package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// A GuestError is why a guest did not run, or ran no longer, in the words of its
// supervisor.
type GuestError struct{ Text string }

func (e *GuestError) Error() string { return e.Text }

// abandonTimeout is how long a supervisor may take to give up when it is told
// to. It takes 0.2 s; then it is killed, which leaves nothing either.
const abandonTimeout = 30 * time.Second

// A Session is a guest that ends with its caller, however that ends, unless it is
// released. Meanwhile it can be found as any other.
type Session struct {
	Running
	s *spawned
}

// Start starts a supervisor and waits until its guest runs: an enclave has sent its
// heartbeat, the agent of an instance answers. Until then ctx ends it. Progress is
// told line by line.
//
// What the supervisor says went wrong is a [*GuestError]. When Start fails nothing
// is left.
func Start(ctx context.Context, order Order, progress func(string)) (*Session, error) {
	s, err := spawn()
	if err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	stop := context.AfterFunc(ctx, s.abandon)
	ready, err := s.wait(order, progress)
	stopped := stop() // or ctx ended first, and the supervisor was told to give up
	go s.drain()
	if stopped && err == nil {
		return &Session{Running{Client: newClient(ready.Dir), Description: *ready.Ready}, s}, nil
	}
	state, _ := s.end()
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, errSilent):
		err = fmt.Errorf("the process that looks after the %s ended before the %[1]s ran (%s)", order.kind(), state)
	}
	return nil, err
}

// Release lets the guest live on by itself, and ends the session. When it fails
// nothing is left.
func (s *Session) Release() error {
	err := s.s.release()
	if errors.Is(err, errSilent) {
		state, why := s.s.end()
		if err = why; err == nil {
			err = fmt.Errorf("the process that looks after %s has ended (%s)", &s.Description, state)
		}
	}
	return err
}

// Close ends the guest and returns when nothing is left of it. The error is a
// [*GuestError] if the guest had failed by itself.
func (s *Session) Close() error {
	_, err := s.s.end()
	return err
}

// Spawn is [Start] and [Session.Release].
func Spawn(ctx context.Context, order Order, progress func(string)) (Description, error) {
	s, err := Start(ctx, order, progress)
	if err != nil {
		return Description{}, err
	}
	if err := s.Release(); err != nil {
		return Description{}, err
	}
	return s.Description, nil
}

// errSilent says that a supervisor ended without a word.
var errSilent = errors.New("the supervisor has ended")

// spawned is a supervisor that has not been released.
type spawned struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stdout  io.ReadCloser
	reports *json.Decoder

	abandoned sync.Once
	drained   chan struct{} // closed by drain
	last      string        // the error that it reported; to be read when drained
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
	s := &spawned{cmd: cmd, stdin: stdin, stdout: stdout, reports: json.NewDecoder(stdout), drained: make(chan struct{})}
	return s, cmd.Start()
}

// wait gives the order and follows the reports until the guest runs.
func (s *spawned) wait(order Order, progress func(string)) (report, error) {
	if err := json.NewEncoder(s.stdin).Encode(order); err != nil {
		return report{}, errSilent // it does not read
	}
	for {
		var r report
		if err := s.reports.Decode(&r); err != nil {
			return report{}, errSilent
		}
		switch {
		case r.Ready != nil && r.Ready.valid():
			return r, nil
		case r.Error != "":
			return report{}, &GuestError{Text: r.Error}
		case r.Progress != "":
			progress(r.Progress)
		}
	}
}

// drain reads what the supervisor has to say further, or it would wait for a reader.
func (s *spawned) drain() {
	defer close(s.drained)
	for {
		var r report
		if err := s.reports.Decode(&r); err != nil {
			_, _ = io.Copy(io.Discard, s.stdout) // what is no report
			return
		}
		if r.Error != "" {
			s.last = r.Error
		}
	}
}

// release lets the supervisor live.
func (s *spawned) release() error {
	if err := json.NewEncoder(s.stdin).Encode(release{true}); err != nil {
		return errSilent
	}
	select {
	case <-s.drained: // the last of its descriptors may be closed a little later
		return errSilent
	default:
	}
	s.abandon() // no more: it has its release
	_ = s.stdout.Close()
	<-s.drained
	return s.cmd.Process.Release()
}

// abandon tells the supervisor to give up: the end of its input, before it was
// released, is the end of its caller.
func (s *spawned) abandon() { s.abandoned.Do(func() { _ = s.stdin.Close() }) }

// end makes the supervisor give up and waits for it. It says how it ended, and what
// failure of the guest it reported, if any.
func (s *spawned) end() (state string, err error) {
	s.abandon()
	kill := time.AfterFunc(abandonTimeout, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	<-s.drained
	_ = s.cmd.Wait()
	if s.last != "" && s.last != errAbandoned.Error() {
		err = &GuestError{Text: s.last}
	}
	return s.cmd.ProcessState.String(), err
}
