package debian

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	// maxOutput bounds what is kept of a tool's output. apt-cache show of all
	// packages in use prints 150 kB.
	maxOutput = 16 << 20

	// grace is how long a tool has to end after an interrupt, before it is
	// killed. apt uses it to stamp a file that it was fetching, so that the next
	// run can go on from there.
	grace = 3 * time.Second
)

// A command is one run of a tool.
type command struct {
	path string
	args []string
	dir  string
	env  []string     // beside the caller's environment
	keep *os.File     // held open by the tool too, see Config.Lock
	out  io.Writer    // standard output; nil to have it returned
	line func(string) // called with each line of the status pipe, fd 3; may be nil
}

// run runs a tool and gives its standard output. A run that fails gives a
// [*ToolError].
//
// The tool has a process group of its own, interrupted when ctx ends and killed
// soon after, and nothing of it is left when run returns. It is also told to
// end if this process is killed: the signal for that comes when the thread that
// started it dies, hence the locked thread.
func run(ctx context.Context, c command) ([]byte, error) {
	type result struct {
		out []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		out, err := runLocked(ctx, c)
		done <- result{out, err}
	}()
	r := <-done
	return r.out, r.err
}

func runLocked(ctx context.Context, c command) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	cmd.Dir = c.dir
	// Messages are read, so they must be in the language of the table.
	cmd.Env = append(os.Environ(), append([]string{"LC_ALL=C", "LANGUAGE=C", "DEBIAN_FRONTEND=noninteractive"}, c.env...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = grace

	stdout, stderr := limitedBuffer{full: cancel}, limitedBuffer{full: cancel}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if c.out != nil {
		cmd.Stdout = c.out
	}
	status, err := openStatus(cmd, c)
	if err != nil {
		return nil, err
	}
	err = cmd.Start()
	status.started()
	if err == nil {
		err = cmd.Wait()
		// What the tool started itself and did not wait for.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	status.finish()
	if err == nil {
		return stdout.buf.Bytes(), nil
	}
	name := c.path
	if len(c.args) > 0 && !strings.HasPrefix(c.args[0], "-") {
		name += " " + c.args[0]
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s: %w", name, context.Cause(ctx))
	}
	messages := complaintLines(stderr.buf.Bytes())
	return nil, &ToolError{Tool: name, Messages: messages, Kind: kindOf(messages), Err: err}
}

// A statusPipe carries the status lines of a tool on its file descriptor 3.
type statusPipe struct {
	r, w *os.File
	read chan struct{}
}

// openStatus gives cmd its descriptors beyond the standard ones: 3 is the status
// pipe or nothing of use, 4 is c.keep.
func openStatus(cmd *exec.Cmd, c command) (*statusPipe, error) {
	p := &statusPipe{}
	if c.line != nil {
		var err error
		if p.r, p.w, err = os.Pipe(); err != nil {
			return nil, fmt.Errorf("%s: status pipe: %w", c.path, err)
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, p.w)
		p.read = make(chan struct{})
		go func() {
			defer close(p.read)
			lines := bufio.NewScanner(p.r)
			for lines.Scan() {
				c.line(lines.Text())
			}
			// A line too long for the scanner must not block the tool.
			_, _ = io.Copy(io.Discard, p.r)
		}()
	}
	if c.keep != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, c.keep)
	}
	return p, nil
}

// started closes the end that the tool has now.
func (p *statusPipe) started() {
	if p.w != nil {
		_ = p.w.Close()
	}
}

// finish waits for the last line.
func (p *statusPipe) finish() {
	if p.r == nil {
		return
	}
	<-p.read
	_ = p.r.Close()
}

// complaintLines picks apt's errors and warnings out of its output, errors first.
// dpkg-deb says "dpkg-deb: error: ...".
func complaintLines(out []byte) []string {
	var errs, warnings []string
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if m, ok := strings.CutPrefix(line, "E: "); ok {
			errs = append(errs, m)
		} else if m, ok := strings.CutPrefix(line, "W: "); ok {
			warnings = append(warnings, m)
		} else if _, m, ok := strings.Cut(line, ": error: "); ok {
			errs = append(errs, m)
		} else if strings.Contains(line, "No space left on device") {
			errs = append(errs, line)
		}
	}
	return append(errs, warnings...)
}

// A limitedBuffer keeps the first maxOutput bytes. After that it ends the tool:
// one whose output nobody reads any more would wait for ever. The buffer is not
// embedded, since its ReadFrom would go round the limit.
type limitedBuffer struct {
	buf  bytes.Buffer
	full context.CancelCauseFunc
}

var errTooMuch = errors.New("too much output")

// Write implements io.Writer.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > maxOutput {
		b.full(errTooMuch)
		return 0, errTooMuch
	}
	return b.buf.Write(p)
}
