package emulator

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

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
	e.parent.forget(e.cid)
	e.machine.close()
	e.port.close()
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
	if e.host.cfg.KeepEnclaveDirs {
		e.host.keep(e.remains())
	}
	e.parent.release(e.cid)
	e.log.Info("enclave ended", "reason", reason)
}

// follow returns when the enclave is to be taken down, with the reason set.
func (e *Enclave) follow() {
	if e.beat != nil && !e.awaitBeat() {
		return
	}
	e.mu.Lock()
	if e.state == Starting {
		e.state = Running
	}
	e.mu.Unlock()
	if e.beat != nil {
		// Before those who wait for it go on: they may close the log.
		e.log.Info("heartbeat", "after", seconds(time.Since(e.began)))
	}
	close(e.running)

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
