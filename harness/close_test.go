package harness_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/harness"
)

// silentQEMU starts and never answers on its monitor, so that the start of an
// enclave lasts until somebody ends it.
func silentQEMU(t *testing.T) (option harness.HostOption, started string) {
	t.Helper()
	return scriptQEMU(t, "exec sleep 1000")
}

// awaitStart waits for the first start of a fake QEMU.
func awaitStart(t *testing.T, host *harness.Host, started string) {
	t.Helper()
	deadline := time.Now().Add(host.Timeout(10 * time.Second))
	for count(t, started) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("QEMU was not started")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A Host that is closed while an enclave starts, as by Ctrl-C, ends the start,
// waits for that, and starts no other.
func TestCloseDuringStart(t *testing.T) {
	silent, started := silentQEMU(t)
	host := harness.New(t, silent)
	image := fakeEIF(t)
	ended := make(chan error, 1)
	go func() {
		_, err := host.TryEnclave(t, image)
		ended <- err
	}()
	awaitStart(t, host, started)
	below := descendants(os.Getpid())
	// What is starting is not there yet for others.
	if list := host.Enclaves(); len(list) != 0 {
		t.Errorf("enclaves are %v", list)
	}
	if err := host.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if err == nil || err.Error() != "host is closed" {
			t.Errorf("the start ended with %v", err)
		}
	default:
		t.Fatal("the Host was closed before the start ended")
	}
	for _, p := range below {
		if p.runs() {
			t.Errorf("process %d (%s) is left", p.pid, p.name)
		}
	}
	if _, err := os.Stat(host.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the Host's folder is left (%v)", err)
	}
	if _, err := host.TryEnclave(t, image); err == nil || err.Error() != "host is closed" {
		t.Errorf("a start after that: %v", err)
	}
	if n := count(t, started); n != 1 {
		t.Errorf("QEMU was started %d times", n)
	}
}

// Who gives up a start gets his error back, and the CID is free again.
func TestStartIsCancelled(t *testing.T) {
	silent, started := silentQEMU(t)
	host := harness.New(t, silent)
	image := fakeEIF(t)
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := host.Host.StartEnclave(ctx, emulator.EnclaveConfig{EIFPath: image, MemoryMiB: 64, CPUs: 1, CID: 50})
			ended <- err
		}()
		awaitStart(t, host, started)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the start ended with %v, want the caller's own", err)
		}
		if err := os.Remove(started); err != nil {
			t.Fatal(err)
		}
	}
}
