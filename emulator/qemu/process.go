// Package qemu builds QEMU's command line and keeps watch over the process.
//
// A guest is a list of [Device] values, each with two halves: arguments for QEMU
// and arguments for the kernel. [Build] joins them, [Start] runs the result
// under guard and connects to its monitor, a [Process] is what runs.
//
// [ProbeAccel] finds out whether KVM really runs guests here. Deadlines go
// through [Accel.Timeout], because TCG takes several times as long.
package qemu

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nitrolab/nitrolab/emulator/guard"
	"github.com/nitrolab/nitrolab/emulator/qmp"
)

// endTimeout is how long QEMU may take to end after it said that it would,
// before Accel scales it.
const endTimeout = 10 * time.Second

// A Process is one running QEMU with its guest. All methods may be called
// concurrently.
type Process struct {
	guarded   *guard.Process
	monitor   *qmp.Client
	console   *Console
	stderr    *tail
	accel     Accel
	reproduce string
	dir       string
	log       *slog.Logger
	started   time.Time

	mu     sync.Mutex
	killed bool   // guarded by mu: Kill was called
	said   ending // guarded by mu: what the monitor said, the first word counts

	done chan struct{} // closed when exit is set and everything is joined
	exit *Exit
}

func newProcess(s *starting, events *qmp.Subscription) *Process {
	p := &Process{
		guarded:   s.guarded,
		monitor:   s.monitor,
		console:   s.console,
		stderr:    s.stderr,
		accel:     s.cfg.Accel,
		reproduce: s.repro,
		dir:       s.cfg.Dir,
		log:       s.cfg.Log,
		started:   time.Now(),
		done:      make(chan struct{}),
	}
	go p.supervise(events)
	return p
}

// QMP is the monitor. It lives as long as QEMU.
func (p *Process) QMP() *qmp.Client { return p.monitor }

// Console is the guest's serial port. It can be read after QEMU's end, too.
func (p *Process) Console() *Console { return p.console }

// Stderr returns the end of what QEMU itself printed, at most 16 KiB.
func (p *Process) Stderr() []byte { return p.stderr.Tail(stderrBacklog) }

// Pid is QEMU's process id.
func (p *Process) Pid() int { return p.guarded.Pid() }

// Reproduce is a command line to paste into a shell. A comment behind it says
// what is missing there.
func (p *Process) Reproduce() string { return p.reproduce }

// Done is closed when QEMU has ended and everything is cleaned up.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for Done and says how it ended. The result is never nil.
func (p *Process) Wait() *Exit {
	<-p.done
	return p.exit
}

// Kill ends QEMU with SIGKILL and does not wait. What the guest last printed may
// be lost.
func (p *Process) Kill() error {
	p.mu.Lock()
	p.killed = true
	p.mu.Unlock()
	return p.guarded.Kill()
}

// Close kills QEMU, if it still runs, and waits until everything is gone. It may
// be called more than once. An error means that something may be left.
func (p *Process) Close() error {
	p.mu.Lock()
	p.killed = true
	p.mu.Unlock()
	err := p.guarded.Close()
	<-p.done
	if errors.Is(err, guard.ErrLost) {
		return nil // somebody was faster
	}
	return err
}

// supervise is the process's one goroutine: it hears what the monitor says, and
// cleans up when it is over.
func (p *Process) supervise(events *qmp.Subscription) {
	defer close(p.done)
	ctx, cancel := context.WithCancel(context.Background())
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		p.watch(ctx, events)
	}()
	status, err := p.guarded.Wait()

	// QEMU has ended. Its last events are on the way: the watcher ends with
	// the monitor's socket, and everybody who had it open is dead.
	select {
	case <-watching:
	case <-time.After(p.accel.Timeout(time.Second)):
	}
	cancel()
	<-watching
	_ = events.Close()
	_ = p.monitor.Close()
	p.console.close()
	p.stderr.close()

	p.mu.Lock()
	defer p.mu.Unlock()
	p.exit = conclude(p.said, p.killed, status, err, p.console.Finding())
	p.log.Debug("QEMU ended", "exit", p.exit, "after", time.Since(p.started))
}

// watch follows the events until the monitor is gone.
func (p *Process) watch(ctx context.Context, events *qmp.Subscription) {
	for {
		e, err := events.Next(ctx)
		if err != nil {
			return
		}
		switch e.Name {
		case "SHUTDOWN":
			p.say(shutdownEnding(e.Data))
			// QEMU ends by itself now, unless some back end holds it up.
			late := time.AfterFunc(p.accel.Timeout(endTimeout), func() { _ = p.guarded.Kill() })
			defer late.Stop()
		case "STOP":
			p.examineStop(ctx)
		}
	}
}

// examineStop tells a stop for good from one that somebody asked for.
func (p *Process) examineStop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.accel.Timeout(endTimeout))
	defer cancel()
	var s struct {
		Status string `json:"status"`
	}
	if err := p.monitor.Execute(ctx, "query-status", nil, &s); err != nil {
		return // it is ending, which is seen elsewhere
	}
	if kind, ok := lastingStops[s.Status]; ok {
		p.say(ending{kind, s.Status})
		_ = p.guarded.Kill()
	}
}

// say records the monitor's word on the end.
func (p *Process) say(e ending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.said.kind == nil {
		p.said = e
	}
}
