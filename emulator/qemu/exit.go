package qemu

import (
	"encoding/json"
	"errors"

	"github.com/nitrolab/nitrolab/emulator/guard"
)

// The ways a guest ends. An [*Exit] is one of them by errors.Is.
var (
	ErrGuestReset    = errors.New("the guest reset the machine")
	ErrGuestShutdown = errors.New("the guest powered the machine off")
	ErrGuestPanic    = errors.New("the guest panicked")

	// ErrInternal says that QEMU could not go on and stopped the guest for
	// good, as a KVM does that cannot emulate an instruction.
	ErrInternal = errors.New("QEMU stopped the guest")

	// ErrKilled says that Kill or Close ended it.
	ErrKilled = errors.New("killed")

	// ErrHost says that something else on the host ended QEMU in an orderly
	// way: the command quit, or SIGTERM.
	ErrHost = errors.New("QEMU was told to end")

	// ErrCrashed says that QEMU ended without a word to its monitor.
	ErrCrashed = errors.New("QEMU ended unexpectedly")
)

// An Exit is how a QEMU process ended. It is an error, so that callers can pass
// it on, although some of its kinds are what the caller waited for.
type Exit struct {
	Kind   error        // one of the Err variables
	Reason string       // QEMU's: "guest-reset", "host-signal", "internal-error", ...
	Status guard.Status // of the process; meaningless if Err is guard.ErrLost

	// Finding is the sign of a crash on the console, nil if none. A kernel that
	// panics and then resets shows as ErrGuestPanic.
	Finding *Finding

	Err error // what went wrong while watching it; usually nil
}

func (e *Exit) Error() string {
	s := e.Kind.Error()
	switch {
	case e.Finding != nil && errors.Is(e.Kind, ErrGuestPanic):
		s += ": " + e.Finding.Line
	case errors.Is(e.Kind, ErrCrashed):
		s += ": " + e.Status.String()
	case e.Reason != "":
		s += " (" + e.Reason + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap makes errors.Is work with the kind and with the cause.
func (e *Exit) Unwrap() []error {
	if e.Err != nil {
		return []error{e.Kind, e.Err}
	}
	return []error{e.Kind}
}

// Guest reports whether the guest ended it, in whichever way.
func (e *Exit) Guest() bool {
	return errors.Is(e.Kind, ErrGuestReset) || errors.Is(e.Kind, ErrGuestShutdown) || errors.Is(e.Kind, ErrGuestPanic)
}

// ending is what the monitor says about the end, before it comes.
type ending struct {
	kind   error // nil as long as nothing was said
	reason string
}

// shutdownEnding reads the data of a SHUTDOWN event (qapi/run-state.json,
// ShutdownCause).
func shutdownEnding(data json.RawMessage) ending {
	var d struct {
		Guest  bool   `json:"guest"`
		Reason string `json:"reason"`
	}
	_ = json.Unmarshal(data, &d) // an end without a reason is an end
	switch d.Reason {
	case "guest-reset":
		return ending{ErrGuestReset, d.Reason}
	case "guest-shutdown":
		return ending{ErrGuestShutdown, d.Reason}
	case "guest-panic":
		return ending{ErrGuestPanic, d.Reason}
	}
	if d.Guest {
		return ending{ErrGuestShutdown, d.Reason}
	}
	return ending{ErrHost, d.Reason}
}

// lastingStops are the run states (qapi/run-state.json, RunState) that no guest
// of ours leaves again.
var lastingStops = map[string]error{
	"internal-error": ErrInternal,
	"io-error":       ErrInternal,
	"watchdog":       ErrInternal,
	"guest-panicked": ErrGuestPanic,
}

// conclude makes the Exit of what monitor, process, console and caller know.
func conclude(said ending, killed bool, status guard.Status, waitErr error, finding *Finding) *Exit {
	e := &Exit{Kind: said.kind, Reason: said.reason, Status: status, Finding: finding, Err: waitErr}
	switch {
	case said.kind == nil && killed:
		e.Kind = ErrKilled
	case said.kind == nil:
		e.Kind = ErrCrashed
		if e.Err == nil && status.Success() {
			e.Err = errors.New("no SHUTDOWN event came")
		}
	case errors.Is(said.kind, ErrHost) && killed:
		e.Kind = ErrKilled
	case errors.Is(said.kind, ErrGuestReset) && finding != nil:
		e.Kind = ErrGuestPanic
	}
	return e
}

// Explain makes the error for a caller who waited for something that did not
// happen: what says what, as in "enclave did not send its heartbeat within
// 180 s". It tells the guest's fault (*BootError) from the host's (*InfraError),
// whether the guest has ended or still runs.
func (p *Process) Explain(what string) error {
	select {
	case <-p.done:
		return p.explainExit(what)
	default:
	}
	boot := p.bootError(what)
	if boot.Finding != nil {
		boot.Title += ": " + boot.Finding.Title
		return boot
	}
	if len(boot.Console) == 0 {
		boot.Title += ": the guest runs and has printed nothing"
	} else {
		boot.Title += ": the guest still runs"
	}
	return boot
}

func (p *Process) explainExit(what string) error {
	e := p.exit
	if !e.Guest() {
		return &InfraError{
			Title:     what,
			Err:       e,
			Stderr:    p.stderr.Tail(stderrBacklog),
			Reproduce: p.reproduce,
			Kept:      p.dir,
		}
	}
	boot := p.bootError(what)
	switch {
	case boot.Finding != nil:
		boot.Title += ": " + boot.Finding.Title
	default:
		boot.Title += ": " + e.Kind.Error()
	}
	return boot
}

func (p *Process) bootError(what string) *BootError {
	return &BootError{
		Title:     what,
		Finding:   p.console.Finding(),
		Console:   p.console.Tail(consoleBacklog),
		Reproduce: p.reproduce,
		Kept:      p.dir,
	}
}
