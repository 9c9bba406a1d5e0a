package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/emulator"
)

// Command is the hidden command of nitrolab that is a supervisor: it reads an
// Order from standard input and reports on standard output.
const Command = "supervise"

// An Order is everything a supervisor needs to know.
type Order struct {
	Enclave  emulator.EnclaveConfig
	Forwards []string
	Names    attestation.Names
	Role     string
	Accel    string // "auto", "kvm" or "tcg"
	QEMU     string // explicit path, or empty
	// ArtifactsDir gets console and command line of an enclave that fails.
	ArtifactsDir string
}

// A report is one line of what a supervisor says until its enclave runs.
type report struct {
	Progress string       `json:",omitempty"`
	Ready    *Description `json:",omitempty"`
	// Error ends the attempt; Code is the exit code to use.
	Error string `json:",omitempty"`
	Code  int    `json:",omitempty"`
}

// A StartError is what kept a supervisor from starting its enclave, in its own
// words.
type StartError struct{ Text string }

func (e *StartError) Error() string { return e.Text }

// maxReport bounds one line: an error carries the end of a console.
const maxReport = 1 << 20

// Spawn starts a supervisor and waits until its enclave has sent its heartbeat.
// Until then the supervisor ends with its caller: when ctx ends, and when the
// caller is killed. Afterwards it lives on by itself. Progress is told line by
// line.
func Spawn(ctx context.Context, order Order, progress func(string)) (Description, error) {
	text, err := json.Marshal(order)
	if err != nil {
		return Description{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return Description{}, fmt.Errorf("start supervisor: %w", err)
	}
	cmd := exec.Command(self, Command)
	// Its own session: Ctrl-C and the end of the terminal are not meant for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return Description{}, fmt.Errorf("start supervisor: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return Description{}, fmt.Errorf("start supervisor: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return Description{}, fmt.Errorf("start supervisor: %w", err)
	}
	// Closing its input tells the supervisor to give up: it reads on until it
	// gets leave to live by itself.
	stop := context.AfterFunc(ctx, func() { stdin.Close() })
	defer stop()
	defer stdin.Close()
	if _, err := stdin.Write(append(text, '\n')); err != nil {
		return Description{}, errors.Join(fmt.Errorf("start supervisor: %w", err), cmd.Wait())
	}

	lines := bufio.NewReaderSize(stdout, maxReport)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			waitErr := cmd.Wait()
			if ctx.Err() != nil {
				return Description{}, ctx.Err()
			}
			if err != io.EOF {
				waitErr = errors.Join(err, waitErr)
			}
			return Description{}, fmt.Errorf("supervisor ended before its enclave ran: %w", errors.Join(errEnded, waitErr))
		}
		var r report
		if err := json.Unmarshal(line, &r); err != nil {
			return Description{}, fmt.Errorf("read report of supervisor: %w", err)
		}
		switch {
		case r.Progress != "":
			progress(r.Progress)
		case r.Error != "":
			stdin.Close()
			_ = cmd.Wait() // its exit code says no more than the error
			return Description{}, &StartError{Text: r.Error}
		case r.Ready != nil:
			if !stop() {
				_ = cmd.Wait()
				return Description{}, ctx.Err()
			}
			if _, err := stdin.Write([]byte(leave)); err != nil {
				return Description{}, errors.Join(fmt.Errorf("release supervisor: %w", err), cmd.Wait())
			}
			return *r.Ready, cmd.Process.Release()
		}
	}
}

var errEnded = errors.New("it said no more")

// leave is what lets a supervisor live without the process that started it.
const leave = "leave\n"

// shutdownTimeout bounds the answers that are still under way at the end.
const shutdownTimeout = 2 * time.Second
