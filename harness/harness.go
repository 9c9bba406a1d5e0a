// Package harness is nitrolab for Go tests: a Nitro host in a test, enclaves on
// it, and attacks with their counter-proofs.
//
//	func TestAttests(t *testing.T) {
//		host := harness.New(t)
//		enclave := host.RunEnclave(t, harness.SampleEIF(t))
//		nonce := []byte("fresh")
//		host.MustVerify(t, enclave.Ask(t, nonce), enclave.Policy(nonce))
//	}
//
// There is nothing to set up and nothing to clean up: QEMU and a kernel are
// fetched once into the user's cache, no root and no KVM is needed, and
// everything ends with its test, also if the test process is killed. Tests may
// run in parallel. When a test fails, consoles, QEMU's messages and command
// lines are kept in one folder whose name is printed.
//
// A test that cannot run fails and says why; nothing is skipped.
package harness

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/emulator"
)

// A Host is one emulated Nitro host that lives as long as the test it was made
// for. The methods of [emulator.Host] work on it too.
type Host struct {
	*emulator.Host
	accelScale float64
	weaken     weaken.Set
	artifacts  *artifacts
	owner      owner
}

// New starts a Host. Whatever is wrong fails the test.
func New(t testing.TB, opts ...HostOption) *Host {
	t.Helper()
	cfg := emulator.Config{
		// Folders stay until the Host is closed, so that a test which fails
		// after its enclave ended still has its console.
		KeepEnclaveDirs: true,
		Log:             slog.New(newTestHandler(t)),
	}
	for _, o := range opts {
		if o == nil {
			continue
		}
		if err := o(&cfg); err != nil {
			t.Fatalf("harness: option: %v", err)
		}
	}
	if cfg.Tools == nil {
		cfg.Tools, cfg.Accel = findTools(t)
	}
	if cfg.CacheDir == "" {
		cfg.CacheDir = cacheDir(t)
	}
	if cfg.StateDir == "" {
		cfg.StateDir = stateDir(t)
	}
	h, err := emulator.NewHost(cfg)
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	host := &Host{Host: h, accelScale: cfg.Accel.Scale(), weaken: cfg.Weaken, artifacts: newArtifacts(t)}
	// Before the first thing that can fail.
	t.Cleanup(func() {
		if t.Failed() {
			host.artifacts.show(t, h)
		}
		if err := h.Close(); err != nil {
			t.Errorf("harness: close host: %v", err)
		}
	})
	cfg.Log.Info("host is up", "instance", h.InstanceID(), "accelerator", cfg.Accel)
	return host
}

// Timeout scales a deadline that is right for a quiet machine with KVM.
func (h *Host) Timeout(base time.Duration) time.Duration {
	return time.Duration(float64(base) * h.accelScale)
}

// Listen takes connections that enclaves open to their parent's port. It ends
// with the test or subtest t. RemoteAddr of a connection tells the enclave.
func (h *Host) Listen(t testing.TB, port uint32) net.Listener {
	t.Helper()
	l, err := h.Host.Listen(port)
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// Verify checks a document of this Host at its clock. What opts leave out is
// filled in: the Host's root, its time, the protection that is off.
func (h *Host) Verify(document []byte, opts attestation.Options) (*attestation.Result, error) {
	if opts.Roots == nil {
		opts.Roots = append(opts.Roots, h.Root())
	}
	if opts.Time.IsZero() && !opts.AtDocumentTime {
		opts.Time = h.Now()
	}
	if opts.Weaken == (weaken.Set{}) {
		opts.Weaken = h.weaken
	}
	return attestation.Verify(document, opts)
}

// MustVerify is Verify for a document that has to be accepted.
func (h *Host) MustVerify(t testing.TB, document []byte, opts attestation.Options) *attestation.Document {
	t.Helper()
	result, err := h.Verify(document, opts)
	if err != nil {
		t.Fatalf("harness: document refused: %v\n%s", err, describe(result))
	}
	return result.Document
}

// describe lists the checks of a result.
func describe(r *attestation.Result) string {
	if r == nil {
		return ""
	}
	var b strings.Builder
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "  %-11s %-7s %s\n", c.Name, c.Status, c.Detail)
	}
	return b.String()
}
