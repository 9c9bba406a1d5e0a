package harness_test

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/harness"
)

// A guest that panics before its heartbeat: the error says that it was the guest
// and what it said, the failing test keeps what is needed to see it again, and
// the command line that is printed shows it again.
func TestPanicBeforeHeartbeat(t *testing.T) {
	vm(t, 1)
	image := harness.MisbehavingInitEIF(t, "panic")
	const name = "TestFakePanic"
	dir := artifactsOf(t, name)
	after := false
	r := record(t, name, func(tb testing.TB) {
		harness.New(tb).RunEnclave(tb, image)
		after = true
	})
	if after {
		t.Error("the test went on")
	}
	r.mustFail(t,
		"harness: run enclave: the enclave ended before its heartbeat: the guest panicked\n",
		"  console, last lines:\n",
		"Run /init as init process\n",
		"Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n",
		"  the image's /init ended; its last lines are above the panic\n",
		"  to reproduce: ",
		"harness: artifacts kept in "+dir,
	)
	kept := mustReproduce(t, r, dir)

	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second*qemuScale)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", filepath.Join(kept, "command.sh")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Kernel panic - not syncing: Attempted to kill init!") {
		t.Errorf("command.sh: %v\n%s", err, out)
	}
}

// qemuScale is for deadlines where there is no Host to ask.
const qemuScale = 4

// A guest that never sends its heartbeat is ended by the timeout, and said to be
// running still.
func TestHangBeforeHeartbeat(t *testing.T) {
	vm(t, 1)
	host := harness.New(t)
	limit := 2 * time.Second
	began := time.Now()
	_, err := host.TryEnclave(t, harness.MisbehavingInitEIF(t, "sleep"), harness.BootTimeout(limit))
	if took := time.Since(began); took < host.Timeout(limit) {
		t.Errorf("given up after %v, before the timeout of %v", took, host.Timeout(limit))
	}
	boot := mustBootError(t, err)
	if want := "the enclave did not send its heartbeat within "; !strings.HasPrefix(boot.Title, want) || !strings.HasSuffix(boot.Title, ": the guest still runs") || boot.Finding != nil {
		t.Errorf("title is %q, finding %v; want %q and that the guest runs", boot.Title, boot.Finding, want)
	}
	if list := host.Enclaves(); len(list) != 0 {
		t.Errorf("%d enclaves are left", len(list))
	}
}

// A guest that resets before its heartbeat never came up, which is its fault.
func TestResetBeforeHeartbeat(t *testing.T) {
	vm(t, 1)
	host := harness.New(t)
	_, err := host.TryEnclave(t, harness.MisbehavingInitEIF(t, "reset"))
	boot := mustBootError(t, err)
	if want := "the enclave ended before its heartbeat: the guest reset the machine"; boot.Title != want {
		t.Errorf("title is %q, want %q", boot.Title, want)
	}
}

// Whoever stops waiting for an enclave gets it removed.
func TestBootIsCancelled(t *testing.T) {
	vm(t, 1)
	host := harness.New(t)
	enclave := host.StartEnclave(t, harness.MisbehavingInitEIF(t, "sleep"))
	if state := enclave.Info().State; state != emulator.Starting {
		t.Errorf("state is %s before the heartbeat", state)
	}
	pid := enclave.PID()
	if !alive(pid) {
		t.Errorf("QEMU is said to be process %d, which does not run", pid)
	}
	if err := enclave.Terminate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := enclave.Enclave.WaitRunning(t.Context()); !errors.Is(err, emulator.ErrTerminated) {
		t.Errorf("waiting for it: %v, want ErrTerminated", err)
	}
	if reason := enclave.Ended(); reason != emulator.EndTerminated {
		t.Errorf("ended by %s", reason)
	}
	if alive(pid) {
		t.Errorf("QEMU, process %d, is left", pid)
	}
}

// mustBootError checks that an error is the guest's fault, with all there is to
// find it.
func mustBootError(t *testing.T, err error) *qemu.BootError {
	t.Helper()
	var boot *qemu.BootError
	if !errors.As(err, &boot) {
		t.Fatalf("error is %T (%v), want a BootError", err, err)
	}
	if !strings.Contains(string(boot.Console), "Linux version") || !strings.Contains(boot.Reproduce, " -M microvm,") {
		t.Errorf("console or command line is missing in %+v", boot)
	}
	return boot
}
