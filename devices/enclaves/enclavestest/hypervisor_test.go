package enclavestest_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/nitrolab/nitrolab/devices/enclaves"
	"github.com/nitrolab/nitrolab/devices/enclaves/enclavestest"
)

const mib = 1 << 20

func config(slot uint64, addr uint64, cpu uint32) enclaves.LaunchConfig {
	return enclaves.LaunchConfig{
		SlotUID: slot, Memory: []enclaves.Region{{Addr: addr, Size: 4 * mib}}, CPUs: []uint32{cpu},
	}
}

// The fake finds what a device must never do.
func TestHypervisorFindsMistakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(h *enclavestest.Hypervisor, e enclaves.Enclave)
		want string
	}{
		{"memory of another", func(h *enclavestest.Hypervisor, _ enclaves.Enclave) {
			_, _ = h.Launch(context.Background(), config(2, 2*mib, 3))
		}, "memory is that of"},
		{"CPU of another", func(h *enclavestest.Hypervisor, _ enclaves.Enclave) {
			_, _ = h.Launch(context.Background(), config(2, 8*mib, 2))
		}, "CPU 2 is that of"},
		{"scrub in use", func(h *enclavestest.Hypervisor, _ enclaves.Enclave) {
			_ = h.Scrub([]enclaves.Region{{Addr: 2 * mib, Size: 2 * mib}})
		}, "was not stopped"},
		{"scrub after a crash", func(h *enclavestest.Hypervisor, e enclaves.Enclave) {
			e.(*enclavestest.Enclave).Crash()
			_ = h.Scrub([]enclaves.Region{{Addr: 2 * mib, Size: 2 * mib}})
		}, "was not stopped"},
		{"stopped twice", func(_ *enclavestest.Hypervisor, e enclaves.Enclave) {
			_ = e.Stop()
			_ = e.Stop()
		}, "stopped twice"},
		{"never stopped", func(*enclavestest.Hypervisor, enclaves.Enclave) {}, "was not stopped"},
		{"nothing", func(h *enclavestest.Hypervisor, e enclaves.Enclave) {
			_ = e.Stop()
			_ = h.Scrub(config(1, 0, 2).Memory)
			o, _ := h.Launch(context.Background(), config(2, 2*mib, 2))
			_ = o.Stop()
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := enclavestest.NewHypervisor(enclaves.Region{Size: 64 * mib})
			e, err := h.Launch(context.Background(), config(1, 0, 2))
			if err != nil {
				t.Fatal(err)
			}
			tt.do(h, e)
			err = h.Err(true)
			if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestCIDs(t *testing.T) {
	h := enclavestest.NewHypervisor()
	launch := func(cid uint32) (enclaves.Enclave, error) {
		return h.Launch(context.Background(), enclaves.LaunchConfig{CID: cid})
	}
	for _, tt := range []struct{ ask, want uint32 }{{0, 16}, {17, 17}, {0, 18}, {5, 5}} {
		e, err := launch(tt.ask)
		if err != nil || e.CID() != tt.want {
			t.Fatalf("asked for %d: %v, %v", tt.ask, e, err)
		}
	}
	if _, err := launch(17); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("CID of another: %v", err)
	}
	h.Enclave(17).Crash()
	if _, err := launch(17); err != nil {
		t.Errorf("CID of one that ended: %v", err)
	}
	if h.Enclave(99) != nil {
		t.Error("an enclave that never was")
	}
}

func TestHasRAM(t *testing.T) {
	h := enclavestest.NewHypervisor(enclaves.Region{Addr: 4 * mib, Size: 4 * mib})
	for _, tt := range []struct {
		r    enclaves.Region
		want bool
	}{
		{enclaves.Region{Addr: 4 * mib, Size: 4 * mib}, true},
		{enclaves.Region{Addr: 6 * mib, Size: 2 * mib}, true},
		{enclaves.Region{Addr: 2 * mib, Size: 4 * mib}, false},
		{enclaves.Region{Addr: 6 * mib, Size: 4 * mib}, false},
		{enclaves.Region{Addr: 8 * mib, Size: 2 * mib}, false},
		{enclaves.Region{Addr: 6 * mib, Size: 1<<64 - 2*mib}, false},
	} {
		if got := h.HasRAM(tt.r); got != tt.want {
			t.Errorf("%#x: %v", tt.r, got)
		}
	}
}

// What Linux refuses without asking the device never reaches it.
func TestDriverRefuses(t *testing.T) {
	h := enclavestest.NewHypervisor(enclaves.Region{Size: 256 * mib})
	dev, err := enclaves.New(enclaves.Config{Hypervisor: h, CPUs: 4, MaxRegions: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	d := enclavestest.NewDriver(dev.Function())
	if err := d.Probe(); err != nil {
		t.Fatal(err)
	}
	defer d.Abandon()
	vm, err := d.CreateVM()
	if err != nil {
		t.Fatal(err)
	}
	start := func(cid, flags uint64, want error) {
		t.Helper()
		if _, err := vm.Start(cid, flags); err != want {
			t.Errorf("start with CID %d, flags %d: %v, want %v", cid, flags, err, want)
		}
	}
	memory := func(want error, runs ...enclaves.Region) {
		t.Helper()
		if err := vm.AddMemory(runs...); err != want {
			t.Errorf("memory: %v, want %v", err, want)
		}
	}
	start(3, 0, enclavestest.ErrCID)
	start(1<<32, 0, enclavestest.ErrCID)
	start(0, 2, enclavestest.ErrFlag)
	start(0, 0, enclavestest.ErrNoMemory)
	memory(nil, enclaves.Region{Addr: 0, Size: 62 * mib})
	start(0, 0, enclavestest.ErrLittleMemory)
	memory(enclavestest.ErrMaxRegions, enclaves.Region{Addr: 64 * mib, Size: 2 * mib}, enclaves.Region{Addr: 66 * mib, Size: 2 * mib})
	memory(nil, enclaves.Region{Addr: 64 * mib, Size: 2 * mib})
	start(0, 0, enclavestest.ErrNoVCPU)
	if err := vm.AddVCPU(1); err != nil {
		t.Fatal(err)
	}
	if err := vm.AddVCPU(1); !errors.Is(err, syscall.EEXIST) { // of the device
		t.Errorf("CPU again: %v", err)
	}
	start(0, 0, nil)
	start(0, 0, enclavestest.ErrNotInit)
	memory(enclavestest.ErrNotInit, enclaves.Region{})
	if err := vm.AddVCPU(2); err != enclavestest.ErrNotInit {
		t.Errorf("CPU: %v", err)
	}
	if err := vm.Close(); err != nil {
		t.Error(err)
	}
}
