package harness

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/ask"
	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/nsm/nsmpipe"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/guestagent"
	"github.com/nitrolab/nitrolab/images/eif"
)

// Deadlines of the helpers below, before scaling.
const (
	dialTimeout    = 10 * time.Second
	execTimeout    = 20 * time.Second
	consoleTimeout = 20 * time.Second
	endTimeout     = 20 * time.Second
)

// An Enclave is one running image. The methods of [emulator.Enclave] work on it
// too; those here fail the test themselves.
type Enclave struct {
	*emulator.Enclave
	host *Host

	mu    sync.Mutex
	agent *guestagent.Client // guarded by mu: the connection to the agent, once there is one
}

// RunEnclave starts an image and waits for its heartbeat. The enclave ends with
// the test or subtest t.
func (h *Host) RunEnclave(t testing.TB, eif string, opts ...EnclaveOption) *Enclave {
	t.Helper()
	e := h.StartEnclave(t, eif, opts...)
	e.WaitRunning(t)
	return e
}

// StartEnclave is RunEnclave without the wait, for several at a time.
func (h *Host) StartEnclave(t testing.TB, eif string, opts ...EnclaveOption) *Enclave {
	t.Helper()
	e, err := h.start(t, eif, opts)
	if err != nil {
		t.Fatalf("harness: run enclave: %s", h.artifacts.report(t, h.Host, err))
	}
	return e
}

// TryEnclave is RunEnclave for a test in which it may fail.
func (h *Host) TryEnclave(t testing.TB, eif string, opts ...EnclaveOption) (*Enclave, error) {
	t.Helper()
	e, err := h.start(t, eif, opts)
	if err != nil {
		return nil, err
	}
	if err := e.Enclave.WaitRunning(t.Context()); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// start starts an enclave that ends with t.
func (h *Host) start(t testing.TB, eif string, opts []EnclaveOption) (*Enclave, error) {
	t.Helper()
	cfg := emulator.EnclaveConfig{EIFPath: eif, MemoryMiB: 256, CPUs: 1}
	for _, o := range opts {
		if o == nil {
			continue
		}
		if err := o(&cfg); err != nil {
			t.Fatalf("harness: option: %v", err)
		}
	}
	cfg.BootTimeout = h.Timeout(cfg.BootTimeout)
	if cfg.HangTimeout > 0 {
		cfg.HangTimeout = h.Timeout(cfg.HangTimeout)
	}
	e, err := h.Host.StartEnclave(t.Context(), cfg)
	if err != nil {
		return nil, err
	}
	enclave := &Enclave{Enclave: e, host: h}
	t.Cleanup(func() {
		enclave.closeAgent()
		if err := e.Close(); err != nil {
			t.Errorf("harness: close enclave: %v", err)
		}
	})
	return enclave, nil
}

// WaitRunning waits for the heartbeat.
func (e *Enclave) WaitRunning(t testing.TB) {
	t.Helper()
	if err := e.Enclave.WaitRunning(t.Context()); err != nil {
		t.Fatalf("harness: run enclave: %s", e.host.artifacts.report(t, e.host.Host, err))
	}
}

// Dial connects from the parent to a vsock port of the enclave, on which its
// application listens or is about to. The connection has no deadline yet and is
// closed with the test.
func (e *Enclave) Dial(t testing.TB, port uint32) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), e.host.Timeout(dialTimeout))
	defer cancel()
	c, err := e.DialReady(ctx, port)
	if err != nil {
		t.Fatalf("harness: dial port %d of %s: %v", port, e.ID(), err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Refuses fails the test unless the enclave's kernel refuses a connection to the
// port, at once and not by a timeout.
func (e *Enclave) Refuses(t testing.TB, port uint32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), e.host.Timeout(dialTimeout))
	defer cancel()
	c, err := e.Enclave.Dial(ctx, port)
	if err == nil {
		c.Close()
		t.Fatalf("harness: port %d of %s accepts connections", port, e.ID())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("harness: port %d of %s: %v, want a refusal", port, e.ID(), err)
	}
}

// Ask gets a document over nonce from the sample application.
func (e *Enclave) Ask(t testing.TB, nonce []byte) []byte {
	t.Helper()
	c := e.Dial(t, ports.Attest)
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(e.host.Timeout(execTimeout))); err != nil {
		t.Fatalf("harness: ask: %v", err)
	}
	document, err := ask.Ask(c, nonce)
	if err != nil {
		t.Fatalf("harness: ask %s: %v", e.ID(), err)
	}
	return document
}

// Policy is what a document of this enclave in production mode has to be like:
// the PCRs of its image, and the nonce.
func (e *Enclave) Policy(nonce []byte) attestation.Options {
	return Policy(e.Measurements(), nonce)
}

// Policy is what a document of an enclave with these measurements in production
// mode has to be like.
func Policy(m eif.Measurements, nonce []byte) attestation.Options {
	opts := attestation.Options{
		Nonce: nonce,
		PCRs:  map[uint][]byte{0: m.PCR0[:], 1: m.PCR1[:], 2: m.PCR2[:]},
	}
	if m.Signed {
		opts.PCRs[8] = m.PCR8[:]
	}
	return opts
}

// Agent is a connection to nitrolab's agent in the image of [AgentEIF].
func (e *Enclave) Agent(t testing.TB) *guestagent.Client {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.agent != nil {
		return e.agent
	}
	ctx, cancel := context.WithTimeout(t.Context(), e.host.Timeout(dialTimeout))
	defer cancel()
	c, err := e.DialReady(ctx, ports.Agent)
	if err != nil {
		t.Fatalf("harness: dial the agent of %s: %v", e.ID(), err)
	}
	if e.agent, err = guestagent.New(ctx, c); err != nil {
		t.Fatalf("harness: %v", err)
	}
	return e.agent
}

func (e *Enclave) closeAgent() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.agent != nil {
		_ = e.agent.Close() // the enclave may be gone already
		e.agent = nil
	}
}

// Exec runs a command line in the guest's shell and returns its output. It needs
// [AgentEIF].
func (e *Enclave) Exec(t testing.TB, command string) string {
	t.Helper()
	out, err := e.TryExec(t, command)
	if err != nil {
		t.Fatalf("harness: %q in %s: %v", command, e.ID(), err)
	}
	return out
}

// TryExec is Exec for a command that may fail; then the error is a
// [*guestagent.ExitError].
func (e *Enclave) TryExec(t testing.TB, command string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), e.host.Timeout(execTimeout))
	defer cancel()
	out, err := e.Agent(t).Output(ctx, command)
	return string(out), err
}

// NSM gives raw access to /dev/nsm inside the guest, through its kernel's driver.
// It needs [AgentEIF].
func (e *Enclave) NSM(t testing.TB) func(request []byte) (reply []byte, err error) {
	t.Helper()
	p, err := e.Agent(t).Start("exec nsm serve")
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	t.Cleanup(func() { p.Close() })
	client := nsmpipe.NewClient(p, p)
	return func(request []byte) ([]byte, error) {
		// A driver that does not answer must not hang the test.
		watchdog := time.AfterFunc(e.host.Timeout(execTimeout), func() { p.Close() })
		defer watchdog.Stop()
		return client.Raw(request)
	}
}

// WaitConsole waits until the guest has printed text. Like the operator of a
// Host it sees the console of production enclaves too.
func (e *Enclave) WaitConsole(t testing.TB, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), e.host.Timeout(consoleTimeout))
	defer cancel()
	if err := e.Console().WaitFor(ctx, text); err != nil {
		t.Fatalf("harness: console of %s: %v", e.ID(), err)
	}
}

// WaitEnd waits until the enclave has ended and says why.
func (e *Enclave) WaitEnd(t testing.TB) emulator.EndReason {
	t.Helper()
	select {
	case <-e.Done():
	case <-time.After(e.host.Timeout(endTimeout)):
		t.Fatalf("harness: %s has not ended", e.ID())
	}
	return e.Ended()
}
