package agent

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

const (
	// drainTime is how long silence lasts, after the program ended, until its
	// output is taken as complete although something that the program left
	// behind still holds the other end.
	drainTime = 2 * time.Second

	statusNotStarted = 127 // of a shell that does not find a command
)

// A process is the program of a session, in a process group of its own.
type process struct {
	cmd     *exec.Cmd // nil if the program did not start
	stdin   *os.File
	keepIn  bool // stdin is a terminal, which has no half that could be closed
	outputs []output
	reason  string // why the program did not start

	input sync.WaitGroup // the goroutine that feeds stdin; valid after done
	done  chan struct{}  // closed when the fields below are set and nothing runs

	exitCode   int
	exitSignal string // without SIG; "" if the program was not killed

	mu    sync.Mutex // protects ended
	ended bool       // from now on its process id may be another's
}

// An output is one stream from the program to the client.
type output struct {
	src *os.File
	dst io.Writer
}

// newProcess starts cmd with ch as its input and outputs. It always returns a
// process, which the caller runs: one that could not be started is over at once.
func newProcess(cmd *exec.Cmd, ch ssh.Channel, pty *ptyRequest) *process {
	p := &process{cmd: cmd, done: make(chan struct{})}
	var err error
	if pty != nil {
		err = p.startOnTerminal(ch, pty)
	} else {
		err = p.startOnPipes(ch)
	}
	if err != nil {
		p.closeFiles()
		p.cmd, p.stdin, p.outputs, p.ended = nil, nil, nil, true
		p.reason = "agent: start " + cmd.Path + ": " + err.Error() + "\n"
	}
	return p
}

func (p *process) startOnPipes(ch ssh.Channel) error {
	var childs []*os.File
	defer func() {
		for _, f := range childs {
			f.Close()
		}
	}()
	for i, dst := range []io.Writer{nil, ch, ch.Stderr()} {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		if i == 0 {
			p.stdin = w
			childs = append(childs, r)
		} else {
			p.outputs = append(p.outputs, output{r, dst})
			childs = append(childs, w)
		}
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = childs[0], childs[1], childs[2]
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return p.cmd.Start()
}

// run carries input and output until the program ended and its output is
// forwarded, then closes done. Input goes on to be read until ch is closed by
// both sides.
func (p *process) run(ch ssh.Channel) {
	defer close(p.done)
	if p.cmd == nil {
		_, _ = io.WriteString(ch.Stderr(), p.reason)
		p.exitCode = statusNotStarted
		return
	}
	defer p.closeFiles()

	p.input.Go(func() {
		_, _ = io.Copy(p.stdin, ch)
		if !p.keepIn {
			p.stdin.Close()
		}
	})
	exited := make(chan struct{})
	var outputs sync.WaitGroup
	for _, o := range p.outputs {
		outputs.Go(func() { o.forward(exited) })
	}
	p.wait()
	for _, o := range p.outputs {
		_ = o.src.SetReadDeadline(time.Now()) // wakes forward up
	}
	close(exited)
	outputs.Wait()
}

func (p *process) over() <-chan struct{}             { return p.done }
func (p *process) finish()                           { p.input.Wait() }
func (p *process) exit() (status int, signal string) { return p.exitCode, p.exitSignal }

// wait waits for the program and notes how it ended.
func (p *process) wait() {
	// Wait in two steps, so that no signal goes to a process that got the
	// number of ours: it is free only after cmd.Wait.
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()

	_ = p.cmd.Wait() // what it says is in ProcessState
	ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		p.exitCode = statusNotStarted
	case ws.Signaled():
		p.exitSignal = signalName(ws.Signal())
	default:
		p.exitCode = ws.ExitStatus()
	}
}

// forward copies until the stream ends or the client is gone. After the program
// exited it also ends when nothing comes for drainTime; time that the client
// needs to take what came does not count.
//
// Whoever closes exited sets the read deadline before and not after.
func (o output) forward(exited <-chan struct{}) {
	buf := make([]byte, 32<<10)
	for {
		last := false // a deadline that passes now is ours
		select {
		case <-exited:
			if o.src.SetReadDeadline(time.Now().Add(drainTime)) != nil {
				return
			}
			last = true
		default:
		}
		n, err := o.src.Read(buf)
		if n > 0 {
			if _, err := o.dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) && !last {
			continue
		}
		// io.EOF of a pipe, EIO of a terminal that nobody has open, silence.
		return
	}
}

func (p *process) closeFiles() {
	if p.stdin != nil {
		p.stdin.Close()
	}
	for _, o := range p.outputs {
		o.src.Close()
	}
}

// kill ends the program and everything in its process group, if it still runs.
func (p *process) kill() { p.signalGroup(syscall.SIGKILL) }

// signal delivers a signal by its name in RFC 4254 section 6.10.
func (p *process) signal(name string) bool {
	sig, ok := signals[ssh.Signal(name)]
	return ok && p.signalGroup(sig)
}

func (p *process) signalGroup(sig syscall.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.ended && syscall.Kill(-p.cmd.Process.Pid, sig) == nil
}
