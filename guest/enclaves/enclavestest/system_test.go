package enclavestest_test

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/guest/enclaves"
	"github.com/nitrolab/nitrolab/guest/enclaves/enclavestest"
)

const mib = 1 << 20

// prepare brings a VM to the step under test.
func prepare(t *testing.T, sys *enclavestest.System, cpus []uint32, memory uint64) enclaves.VM {
	t.Helper()
	d, err := sys.OpenDevice()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	vm, err := d.CreateVM()
	if err != nil {
		t.Fatal(err)
	}
	m, err := enclaves.Allocate(sys, memory)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Donate(vm); err != nil {
		t.Fatal(err)
	}
	for _, id := range cpus {
		if _, err := vm.AddVCPU(id); err != nil {
			t.Fatal(err)
		}
	}
	return vm
}

// The rules are those of ne_misc_dev.c.
func TestRules(t *testing.T) {
	pool := []uint32{2, 3, 4, 5}
	tests := []struct {
		name   string
		cpus   []uint32
		memory uint64
		call   func(vm enclaves.VM) error
		want   error
	}{
		{"vCPU used", []uint32{2, 3}, 64 * mib, addVCPU(2), enclaves.ErrVCPUAlreadyUsed},
		{"vCPU not in pool", nil, 64 * mib, addVCPU(7), enclaves.ErrVCPUNotInCPUPool},
		{"none left", []uint32{2, 3, 4, 5}, 64 * mib, addVCPU(0), enclaves.ErrNoCPUsAvailInPool},
		{"no such image", nil, 0, func(vm enclaves.VM) error { _, err := vm.ImageLoadInfo(2); return err }, enclaves.ErrInvalidFlagValue},
		{"region flags", nil, 0, region(enclaves.MemoryRegion{Flags: 1}), enclaves.ErrInvalidFlagValue},
		{"region of nothing", nil, 0, region(enclaves.MemoryRegion{}), enclaves.ErrInvalidMemRegionSize},
		{"region of 1 MiB", nil, 0, region(enclaves.MemoryRegion{Size: mib}), enclaves.ErrInvalidMemRegionSize},
		{"region unaligned", nil, 0, region(enclaves.MemoryRegion{Size: 2 * mib, Addr: 4096}), enclaves.ErrUnalignedMemRegionAddr},
		{"region not hugetlb", nil, 0, region(enclaves.MemoryRegion{Size: 2 * mib, Addr: 2 * mib}), enclaves.ErrMemNotHugePage},
		{"start flags", []uint32{2, 3}, 64 * mib, start(enclaves.StartInfo{Flags: 2}), enclaves.ErrInvalidFlagValue},
		{"CID 1", []uint32{2, 3}, 64 * mib, start(enclaves.StartInfo{CID: 1}), enclaves.ErrInvalidEnclaveCID},
		{"CID 3", []uint32{2, 3}, 64 * mib, start(enclaves.StartInfo{CID: 3}), enclaves.ErrInvalidEnclaveCID},
		{"CID any", []uint32{2, 3}, 64 * mib, start(enclaves.StartInfo{CID: 1<<32 - 1}), enclaves.ErrInvalidEnclaveCID},
		{"CID of 33 bits", []uint32{2, 3}, 64 * mib, start(enclaves.StartInfo{CID: 1 << 32}), enclaves.ErrInvalidEnclaveCID},
		{"no memory", []uint32{2, 3}, 0, start(enclaves.StartInfo{}), enclaves.ErrNoMemRegionsAdded},
		{"little memory", []uint32{2, 3}, 62 * mib, start(enclaves.StartInfo{}), enclaves.ErrEnclaveMemMinSize},
		{"no vCPU", nil, 64 * mib, start(enclaves.StartInfo{}), enclaves.ErrNoVCPUsAdded},
		{"half a core", []uint32{2, 3, 4}, 64 * mib, start(enclaves.StartInfo{}), enclaves.ErrFullCoresNotUsed},
		{"good", []uint32{2, 3}, 64 * mib, start(enclaves.StartInfo{}), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sys := enclavestest.New(enclavestest.Config{Pool: pool, Pages: map[uint64]int{2 * mib: 64}})
			err := tt.call(prepare(t, sys, tt.cpus, tt.memory))
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			var op *enclaves.OpError
			if err != nil && !errors.As(err, &op) {
				t.Errorf("got %T, want an OpError", err)
			}
		})
	}
}

func addVCPU(id uint32) func(enclaves.VM) error {
	return func(vm enclaves.VM) error { _, err := vm.AddVCPU(id); return err }
}

func region(r enclaves.MemoryRegion) func(enclaves.VM) error {
	return func(vm enclaves.VM) error { return vm.SetUserMemoryRegion(r) }
}

func start(i enclaves.StartInfo) func(enclaves.VM) error {
	return func(vm enclaves.VM) error { _, err := vm.Start(i); return err }
}

func TestLife(t *testing.T) {
	sys := enclavestest.New(enclavestest.Config{Pool: []uint32{2, 3, 4, 5}, Pages: map[uint64]int{2 * mib: 64}})
	vm := prepare(t, sys, []uint32{0, 0}, 64*mib)
	got, err := vm.Start(enclaves.StartInfo{Flags: enclaves.DebugMode})
	if err != nil || got.CID < 4 {
		t.Fatalf("started with CID %d, error %v", got.CID, err)
	}
	e := sys.Enclaves()[0]
	if diff := cmp.Diff([]uint32{2, 3}, e.CPUs()); diff != "" {
		t.Errorf("CPUs (-want +got):\n%s", diff)
	}
	if e.State() != enclavestest.Running || !e.Debug() || e.CID() != got.CID || e.SlotUID() == 0 {
		t.Errorf("state %v, debug %v, CID %d, slot %d", e.State(), e.Debug(), e.CID(), e.SlotUID())
	}
	for _, late := range []func(enclaves.VM) error{addVCPU(4), region(enclaves.MemoryRegion{Size: 2 * mib}), start(enclaves.StartInfo{})} {
		if err := late(vm); !errors.Is(err, enclaves.ErrNotInInitState) {
			t.Errorf("after the start: %v, want %v", err, enclaves.ErrNotInInitState)
		}
	}
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(why)
	if err := vm.Wait(ctx); !errors.Is(err, why) {
		t.Errorf("wait: %v, want the cause", err)
	}
	e.Crash()
	e.Crash() // nothing more
	if err := vm.Wait(context.Background()); err != nil {
		t.Errorf("wait after the end: %v", err)
	}
	if sys.Leaks() == "" {
		t.Error("no leaks before Close")
	}
	if err := vm.Close(); err != nil {
		t.Error(err)
	}
	if err := vm.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

func TestRefusal(t *testing.T) {
	sys := enclavestest.New(enclavestest.Config{
		Pool: []uint32{2, 3}, Pages: map[uint64]int{2 * mib: 64},
		Launch: func(*enclavestest.Enclave) error { return syscall.EIO },
	})
	vm := prepare(t, sys, []uint32{2, 3}, 64*mib)
	if _, err := vm.Start(enclaves.StartInfo{}); !errors.Is(err, syscall.EIO) {
		t.Errorf("start: %v, want EIO", err)
	}
	d, err := sys.OpenDevice()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.CreateVM(); !errors.Is(err, enclaves.ErrNoCPUsAvailInPool) {
		t.Errorf("second VM: %v, want %v", err, enclaves.ErrNoCPUsAvailInPool)
	}
	sys.FailOpen(os.ErrNotExist)
	if _, err := sys.OpenDevice(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open: %v", err)
	}
}
