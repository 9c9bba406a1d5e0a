package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/images/eif"
)

// An Enclave is one running image: a QEMU process with its security module and
// its vsock. Its methods may be called concurrently.
type Enclave struct {
	host *Host
	cfg  EnclaveConfig
	log  *slog.Logger

	// Immutable once StartEnclave has returned.
	info    EnclaveInfo
	cid     uint32
	dir     string
	machine *machine
	beat    <-chan struct{}
	timeout time.Duration // of the boot
	began   time.Time     // when the machine was started

	running chan struct{} // closed at the heartbeat
	done    chan struct{} // closed when the enclave is gone and all is removed

	mu     sync.Mutex // guards the fields below
	state  State
	reason EndReason // set once, by the first who ends it
	err    error     // set with reason
}

// StartEnclave checks and measures the image and starts it. It returns when the
// machine runs; [Enclave.WaitRunning] waits for the heartbeat. ctx bounds the
// start only. What is wrong with the request or the image is an error before
// anything runs.
func (h *Host) StartEnclave(ctx context.Context, cfg EnclaveConfig) (_ *Enclave, err error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	im, err := openImage(ctx, cfg, h.Now())
	if err != nil {
		return nil, err
	}
	defer im.Close()

	slot, err := newSlotUID(h.Now(), h.entropy)
	if err != nil {
		return nil, err
	}
	e := &Enclave{
		host:    h,
		cfg:     cfg,
		state:   Starting,
		timeout: cfg.bootTimeout(im.Size()),
		running: make(chan struct{}),
		done:    make(chan struct{}),
	}
	if e.cid, err = h.reserve(cfg.CID); err != nil {
		return nil, err
	}
	defer h.starting.Done()
	defer func() {
		if err != nil {
			e.abandon(err)
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.closing, cancel)()
	e.info = im.describe(cfg, h.InstanceID(), slot, e.cid)
	e.log = h.log(e.info.EnclaveID)
	if e.dir, err = os.MkdirTemp(h.Dir(), "enclave-"); err != nil {
		return nil, fmt.Errorf("start enclave: %w", err)
	}
	e.beat = h.heart.expect(e.cid)
	e.began = time.Now()
	if e.machine, err = e.boot(ctx, im, slot); err != nil {
		if h.closing.Err() != nil {
			err = errClosed
		}
		return nil, err
	}
	h.started(e)
	go e.watch()
	return e, nil
}

// abandon undoes a start that failed. What QEMU left behind, if it was tried, is
// kept like that of an enclave which failed later.
func (e *Enclave) abandon(err error) {
	var infra *qemu.InfraError
	tried := errors.As(err, &infra)
	if tried {
		e.keepArtifacts(err)
	}
	keep := tried && e.host.cfg.KeepEnclaveDirs
	if !keep && e.dir != "" {
		_ = os.RemoveAll(e.dir)
	}
	e.host.heart.forget(e.cid)
	e.host.release(e, keep)
}

// RunEnclave is StartEnclave and WaitRunning. An enclave that does not come up
// is gone when it returns.
func (h *Host) RunEnclave(ctx context.Context, cfg EnclaveConfig) (*Enclave, error) {
	e, err := h.StartEnclave(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := e.WaitRunning(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
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
	return e.host.Dial(ctx, vsock.CIDParent, e.cid, port)
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

// end makes the enclave end for a reason; the first one counts.
func (e *Enclave) end(reason EndReason, err error) {
	e.mu.Lock()
	if e.reason == "" {
		e.reason, e.err, e.state = reason, err, Terminating
		close(e.machine.stop)
	}
	e.mu.Unlock()
}

// watch is the life of an enclave after its start, in a goroutine of its own.
func (e *Enclave) watch() {
	defer close(e.done)
	e.follow()
	e.host.heart.forget(e.cid)
	e.machine.close()
	e.mu.Lock()
	reason, err := e.reason, e.err
	e.mu.Unlock()
	if err != nil {
		e.keepArtifacts(err)
	}
	if !e.host.cfg.KeepEnclaveDirs {
		if err := os.RemoveAll(e.dir); err != nil {
			e.log.Error("remove enclave directory", "err", err)
		}
	}
	e.mu.Lock()
	e.state = Terminated
	e.mu.Unlock()
	e.host.release(e, e.host.cfg.KeepEnclaveDirs)
	e.log.Info("enclave ended", "reason", reason)
}

// follow returns when the enclave is to be taken down, with the reason set.
func (e *Enclave) follow() {
	if !e.awaitBeat() {
		return
	}
	e.mu.Lock()
	if e.state == Starting {
		e.state = Running
	}
	e.mu.Unlock()
	close(e.running)
	e.log.Info("heartbeat", "after", seconds(time.Since(e.began)))

	ctx, cancel := context.WithCancel(context.Background())
	hung := make(chan struct{})
	var watchdog sync.WaitGroup
	watchdog.Go(func() {
		if e.isHung(ctx) {
			close(hung)
		}
	})
	defer watchdog.Wait()
	defer cancel()
	select {
	case <-e.machine.stop:
	case <-e.machine.process.Done():
		e.end(e.machine.verdict("the enclave ended", false))
	case <-e.machine.broken:
		e.end(EndFailure, e.machine.failure())
	case <-hung:
		e.end(EndHung, e.machine.blame(fmt.Sprintf("the kernel of the enclave has not answered on vsock for %s", seconds(e.hangTimeout()))))
	}
}

// awaitBeat returns true at the heartbeat, and false when there will be none,
// with the reason set.
func (e *Enclave) awaitBeat() bool {
	boot := time.NewTimer(e.timeout)
	defer boot.Stop()
	panicked := e.Console().Panicked()
	var dead <-chan time.Time // after a panic: when it should have reset
	for {
		select {
		case <-e.beat:
			return true
		case <-e.machine.stop:
			return false
		case <-e.machine.process.Done():
			e.end(e.machine.verdict("the enclave ended before its heartbeat", true))
			return false
		case <-e.machine.broken:
			e.end(EndFailure, e.machine.failure())
			return false
		case <-panicked:
			panicked = nil
			wait := time.NewTimer(e.cfg.panicTimeout())
			defer wait.Stop()
			dead = wait.C
		case <-dead:
			e.end(EndPanic, e.machine.blame(fmt.Sprintf("the enclave sent no heartbeat and did not reset within %s", seconds(e.cfg.panicTimeout()))))
			return false
		case <-boot.C:
			e.end(EndNoBeat, e.machine.blame(fmt.Sprintf("the enclave did not send its heartbeat within %s", seconds(e.timeout))))
			return false
		}
	}
}

// seconds is a time for people, such as "180 s" or "4.12 s".
func seconds(d time.Duration) string {
	text := strconv.FormatFloat(d.Seconds(), 'f', 2, 64)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".") + " s"
}
