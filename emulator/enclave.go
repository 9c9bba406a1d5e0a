package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/images/eif"
)

// An Enclave is one running image: a QEMU process with its security module and
// its vsock. Its methods may be called concurrently.
type Enclave struct {
	host   *Host
	parent *parent
	cfg    EnclaveConfig
	log    *slog.Logger

	// Immutable once StartEnclave has returned.
	info    EnclaveInfo
	cid     uint32
	dir     string
	machine *machine
	port    *consolePort    // nil if the parent sees no console
	beat    <-chan struct{} // nil if a guest takes it
	timeout time.Duration   // of the boot
	began   time.Time       // when the machine was started

	running chan struct{} // closed at the heartbeat
	done    chan struct{} // closed when the enclave is gone and all is removed

	mu     sync.Mutex // guards the fields below
	state  State
	reason EndReason // set once, by the first who ends it
	err    error     // set with reason
}

// ErrTerminated is what those get who wait for an enclave that its owner ends.
var ErrTerminated = errors.New("the enclave was terminated")

// WaitRunning returns when the enclave has sent its heartbeat, with the reason
// if it ended instead, and with the error of ctx. It does not end the enclave.
func (e *Enclave) WaitRunning(ctx context.Context) error {
	select {
	case <-e.running:
		return nil
	case <-e.done:
	case <-ctx.Done():
		return fmt.Errorf("wait for the heartbeat of %s: %w", e.info.EnclaveID, ctx.Err())
	}
	select {
	case <-e.running: // it ran, and is gone by now
		return nil
	default:
	}
	if err := e.Err(); err != nil {
		return err
	}
	return fmt.Errorf("wait for the heartbeat of %s: %w", e.info.EnclaveID, ErrTerminated)
}

// Info describes the enclave as it stands.
func (e *Enclave) Info() EnclaveInfo {
	e.mu.Lock()
	defer e.mu.Unlock()
	info := e.info
	info.State = e.state
	return info
}

// ID is the enclave id, in nitro-cli's form.
func (e *Enclave) ID() string { return e.info.EnclaveID }

// CID is the enclave's vsock address.
func (e *Enclave) CID() uint32 { return e.cid }

// PID is the process id of the enclave's QEMU. That in [Enclave.Info] is of the
// process that manages it, this one, as nitro-cli prints it.
func (e *Enclave) PID() int { return e.machine.process.Pid() }

// Measurements are those of the image, whatever mode it runs in.
func (e *Enclave) Measurements() eif.Measurements { return e.info.Measurements }

// Done is closed when the enclave has ended and everything of it is gone.
func (e *Enclave) Done() <-chan struct{} { return e.done }

// Ended says why the enclave ended, and is empty while it has not.
func (e *Enclave) Ended() EndReason {
	select {
	case <-e.done:
	default:
		return ""
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.reason
}

// Err is nil for an enclave that has not ended, that its owner terminated, or
// that reset itself after its heartbeat, which is how an application's end looks.
// Else it says what went wrong: a [*qemu.BootError] if the guest did, a
// [*qemu.InfraError] if QEMU or a device model did.
func (e *Enclave) Err() error {
	select {
	case <-e.done:
	default:
		return nil // not before it is complete: keepArtifacts changes it
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// Dial opens a connection from the parent to a vsock port of the enclave.
func (e *Enclave) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	return e.parent.dial(ctx, vsock.CIDParent, e.cid, port)
}

// Console is what the guest printed. On a Nitro host only debug enclaves have
// one; here the operator of the Host can always look, see [Enclave.CopyConsole]
// for what the parent may see.
func (e *Enclave) Console() *qemu.Console { return e.machine.process.Console() }

// ErrNoConsole is what a parent gets that asks for the console of an enclave in
// production mode.
var ErrNoConsole = errors.New("the enclave does not run in debug mode, so it has no console")

// CopyConsole writes the console to w as the parent may see it: of debug
// enclaves only. With follow it goes on until the enclave ends or ctx does.
func (e *Enclave) CopyConsole(ctx context.Context, w io.Writer, follow bool) error {
	if !e.cfg.Debug {
		return ErrNoConsole
	}
	if !follow {
		_, err := w.Write(e.Console().Tail(consoleTail))
		return err
	}
	_, err := io.Copy(w, e.Console().Follow(ctx))
	return err
}

// Terminate ends the enclave and returns when it is gone.
func (e *Enclave) Terminate(ctx context.Context) error {
	e.end(EndTerminated, nil)
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("terminate %s: %w", e.info.EnclaveID, ctx.Err())
	}
}

// Close is Terminate without a limit: killing QEMU takes no consent of the
// guest. It returns the error of the end itself, not [Enclave.Err].
func (e *Enclave) Close() error {
	e.end(EndTerminated, nil)
	<-e.done
	return nil
}
