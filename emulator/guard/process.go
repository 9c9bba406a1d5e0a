package guard

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// idEnv is set in every child to a value of its own, by which its descendants
// are found if both guards were killed.
const idEnv = "NITROLAB_GUARDED"

const (
	// closeTimeout is when Close stops waiting for the guards to do their work
	// and does it itself. It is over killTimeout.
	closeTimeout = 15 * time.Second

	// abortTimeout is the same for a child that may not even have started.
	abortTimeout = 5 * time.Second
)

// ErrLost says that a guard was killed from outside. The child and what it
// started were killed in consequence; its status is not known.
var ErrLost = errors.New("guard was killed")

// A Config says what to run. Only Path is required.
type Config struct {
	// Path is the program, looked up in PATH if it holds no slash.
	Path string

	// Args are its arguments, without the program's name.
	Args []string

	// Env is its environment, nil for the owner's.
	Env []string

	// Dir is its working directory, empty for the owner's.
	Dir string

	// Stdin, Stdout and Stderr are as in os/exec: nil is /dev/null, an
	// *os.File is passed on, anything else is fed by a goroutine.
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer

	// Files become the child's descriptors 3, 4, ... They stay the caller's,
	// who closes its copies when Start has returned.
	Files []*os.File

	// Remove lists absolute paths, of files or whole directories, to remove if
	// the owner ends before the child does. While the owner lives they are its
	// own business, see [TempDir].
	Remove []string
}

// A Process is a guarded child. All methods may be called concurrently.
type Process struct {
	cmd     *exec.Cmd // the spare
	control *net.UnixConn
	reports *json.Decoder
	pid     int    // the child's; immutable after Start
	keeper  int    // its keeper's; immutable after Start
	id      string // "NITROLAB_GUARDED=..."

	writeMu sync.Mutex // serialises commands on control

	done   chan struct{} // closed when status and err are set
	status Status
	err    error
}

// Start runs a child under guard. It returns when the child's program has been
// executed. ctx bounds that only; the child lives until it ends, until Kill, or
// until the owner ends. On error nothing is left running.
//
// An error of starting the program wraps its errno, so errors.Is works with
// fs.ErrNotExist and the like.
func Start(ctx context.Context, cfg Config) (_ *Process, err error) {
	sp, err := cfg.spec()
	if err != nil {
		return nil, err
	}
	p := &Process{id: idEnv + "=" + rand.Text(), done: make(chan struct{})}
	sp.Env = append(slices.Clip(sp.Env), p.id)
	if err := p.spawn(roleSpare, sp, cfg); err != nil {
		return nil, fmt.Errorf("guard: start %s: %w", cfg.Path, err)
	}
	if err := p.awaitChild(ctx); err != nil {
		p.abort()
		return nil, fmt.Errorf("guard: start %s: %w", cfg.Path, err)
	}
	go p.watch()
	return p, nil
}

// awaitChild waits for the first report.
func (p *Process) awaitChild(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = p.control.SetReadDeadline(time.Unix(1, 0)) })
	var r report
	err := p.reports.Decode(&r)
	if !stop() {
		return ctx.Err()
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w before the child ran: %w", ErrLost, err)
	case r.Errno != 0:
		return syscall.Errno(r.Errno)
	case r.Pid == 0:
		return errors.New(r.Error)
	}
	p.pid, p.keeper = r.Pid, r.Keeper
	return nil
}

// abort undoes spawn. The socket is closed last: its end would mean to the
// guards that the owner is gone and its paths with it.
func (p *Process) abort() {
	_ = p.Kill()
	_ = p.command(cmdAck, 0)
	_ = p.control.SetReadDeadline(time.Now().Add(abortTimeout))
	if _, err := io.Copy(io.Discard, p.control); err != nil {
		p.force()
	}
	_ = p.collect(true)
	_ = p.control.Close()
}

// force kills the guards and all else that hangs on the session.
func (p *Process) force() {
	killStrays(p.cmd.Process.Pid, p.id)
	_ = p.cmd.Process.Kill()
}

// watch waits for the end.
func (p *Process) watch() {
	defer close(p.done)
	var end report
	for {
		var r report
		if err := p.reports.Decode(&r); err != nil {
			break // the guards have ended
		}
		if r.Ended {
			end = r
		}
		_ = p.command(cmdAck, 0)
	}
	lost := end.Lost || !end.Ended
	if err := p.collect(lost); err != nil {
		p.err = fmt.Errorf("guard: %w", err)
	}
	_ = p.control.Close()
	switch {
	case lost:
		p.err = fmt.Errorf("guard: pid %d: %w", p.pid, ErrLost)
	case len(end.Survivors) > 0:
		p.err = fmt.Errorf("guard: pid %d: processes %v survive SIGKILL", p.pid, end.Survivors)
	}
	if !lost {
		p.status = Status{syscall.WaitStatus(end.Status)}
	}
}

// collect waits for the spare's end and reaps it. If the guards could not finish
// their work, it kills what they left behind; the spare is reaped after that,
// because until then nobody else can get its session's number.
func (p *Process) collect(lost bool) error {
	if lost {
		_ = awaitExit(p.cmd.Process.Pid)
		deadline := time.Now().Add(killTimeout)
		for killStrays(p.cmd.Process.Pid, p.id) > 0 && time.Now().Before(deadline) {
			time.Sleep(removeRetry) // until the kernel has carried it out
		}
	}
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil // says less than ErrLost
	}
	return err
}

// awaitExit waits for a child's end without reaping it.
func awaitExit(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

// Pid is the child's process id. Its process group has the same number.
func (p *Process) Pid() int { return p.pid }

// Done is closed when the child, all it started, and both guards are gone.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for Done and returns how the child ended. An error means that this
// is not known ([ErrLost]), that output could not be copied, or that some
// descendant survived SIGKILL.
func (p *Process) Wait() (Status, error) {
	<-p.done
	return p.status, p.err
}

// Signal sends the child, and only it, a signal. After its end that is not an
// error.
func (p *Process) Signal(sig syscall.Signal) error {
	return p.command(cmdSignal, byte(sig))
}

// Kill ends the child and everything it started with SIGKILL. It does not wait.
func (p *Process) Kill() error { return p.command(cmdKill, 0) }

func (p *Process) command(op, arg byte) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	p.writeMu.Lock()
	defer p.writeMu.Unlock()
	_ = p.control.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := p.control.Write([]byte{op, arg}); err != nil {
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) {
			return nil // it has ended, or is about to
		}
		return fmt.Errorf("guard: pid %d: %w", p.pid, err)
	}
	return nil
}

// Close kills the child and waits until everything is gone. If the guards do not
// answer, stopped by a debugger for instance, it does their work itself. It may
// be called more than once; the error is Wait's.
func (p *Process) Close() error {
	killErr := p.Kill()
	if killErr == nil {
		select {
		case <-p.done:
			return p.err
		case <-time.After(closeTimeout):
		}
	}
	p.force() // then watch sees the socket's end and collects
	<-p.done
	return errors.Join(killErr, p.err)
}
