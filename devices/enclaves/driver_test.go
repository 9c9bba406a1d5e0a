package enclaves_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/enclaves"
	"github.com/nitrolab/nitrolab/devices/enclaves/enclavestest"
	"github.com/nitrolab/nitrolab/devices/weaken"
)

// vm is nitro-cli's way to an enclave that is ready to start: n pages of 2 MiB
// from addr on, downwards, one ioctl each, and the CPUs of core.
func (r *rig) vm(addr uint64, n int, core uint32) *enclavestest.VM {
	r.Helper()
	vm, err := r.drv.CreateVM()
	if err != nil {
		r.Fatal(err)
	}
	for i := n; i > 0; i-- {
		if err := vm.AddMemory(enclaves.Region{Addr: addr + uint64(i-1)*2*mib, Size: 2 * mib}); err != nil {
			r.Fatal(err)
		}
	}
	for _, cpu := range []uint32{2 * core, 2*core + 1} {
		if err := vm.AddVCPU(cpu); err != nil {
			r.Fatal(err)
		}
	}
	return vm
}

func (r *rig) startVM(vm *enclavestest.VM, cid, flags uint64) *enclavestest.Enclave {
	r.Helper()
	cid, err := vm.Start(cid, flags)
	if err != nil {
		r.Fatal(err)
	}
	e := r.hyp.Enclave(cid)
	if e == nil {
		r.Fatalf("no enclave with CID %d", cid)
	}
	return e
}

func (r *rig) closeVM(vm *enclavestest.VM) {
	r.Helper()
	if err := vm.Close(); err != nil {
		r.Fatal(err)
	}
}

func TestLifeOfAnEnclave(t *testing.T) {
	r := newRig(t, nil)
	r.probe()
	vm := r.vm(256*mib, 48, 3)
	e := r.startVM(vm, 0, enclaves.FlagDebug)
	if e.CID() != 16 || !e.Config.Debug || len(e.Config.Memory) != 48 {
		t.Errorf("enclave %+v", e.Config)
	}
	want := []enclaves.SlotStatus{{
		UID: vm.UID, State: enclaves.StateRunning, CID: 16, Debug: true, Regions: 48, Memory: 96 * mib, CPUs: []uint32{6, 7},
	}}
	if diff := cmp.Diff(want, r.dev.Slots()); diff != "" {
		t.Error(diff)
	}
	if e.Stopped() || len(r.hyp.Scrubbed()) > 0 {
		t.Error("stopped or scrubbed before the close")
	}
	r.closeVM(vm)
	if !e.Stopped() {
		t.Error("not stopped")
	}
	if diff := cmp.Diff(e.Config.Memory, r.hyp.Scrubbed()); diff != "" {
		t.Errorf("scrubbed %s", diff)
	}
	if s := r.dev.Slots(); len(s) > 0 {
		t.Errorf("slots %v", s)
	}
	if err := r.drv.Remove(); err != nil {
		t.Error(err)
	}
	// rmmod, insmod: everything once more.
	r.drv = enclavestest.NewDriver(r.dev.Function())
	r.probe()
	r.closeVM(r.vm(256*mib, 48, 3))
	if err := r.drv.Remove(); err != nil {
		t.Error(err)
	}
	if n := r.drv.Early(); n > 0 {
		t.Errorf("%d interrupts that the driver cannot take", n)
	}
}

func TestCrashIsAnEvent(t *testing.T) {
	r := newProbed(t, nil)
	one, two := r.vm(0, 32, 1), r.vm(64*mib, 32, 2)
	idle := r.vm(128*mib, 32, 3)
	first, second := r.startVM(one, 0, 0), r.startVM(two, 0, 0)
	first.Crash()
	r.wait(one.Hangup())
	if one.State() != enclaves.StateStopped || two.State() != enclaves.StateRunning || idle.State() != enclaves.StateInit {
		t.Errorf("states %v, %v, %v", one.State(), two.State(), idle.State())
	}
	select {
	case <-two.Hangup():
		t.Error("the other enclave's descriptor hangs up")
	default:
	}
	if got := r.events(); got != 1 {
		t.Errorf("%d events", got)
	}
	r.closeVM(one)
	r.closeVM(two)
	r.closeVM(idle)
	if !second.Stopped() {
		t.Error("not stopped")
	}
	if got := r.events(); got != 1 {
		t.Errorf("%d events: an end by command is none", got)
	}
}

// An enclave that ends because the driver stops it is no event.
func TestStopIsNoEvent(t *testing.T) {
	r := newProbed(t, nil)
	vm := r.vm(0, 32, 1)
	r.startVM(vm, 0, 0)
	r.hyp.OnStop(func(e *enclavestest.Enclave) error {
		e.Crash() // Done is closed long before Stop returns
		if !becomes(func() bool { return r.dev.Slots()[0].State == enclaves.StateStopped }) {
			t.Error("the device does not notice")
		}
		return nil
	})
	r.closeVM(vm)
	if got := r.events(); got != 0 {
		t.Errorf("%d events", got)
	}
}

// events is the device's count of events.
func (r *rig) events() int {
	var p [2]byte
	r.dev.RegisterHandler().ReadBAR(enclaves.RegEvents+2, p[:])
	return int(p[0]) | int(p[1])<<8
}

// The enclave ends while the driver, which has not heard of it, closes it.
func TestCloseRacesWithCrash(t *testing.T) {
	r := newProbed(t, nil)
	for range 50 {
		vm := r.vm(0, 32, 1)
		e := r.startVM(vm, 0, 0)
		go e.Crash()
		r.closeVM(vm)
		if !e.Stopped() {
			t.Fatal("not stopped")
		}
	}
}

func TestSlotInfoFailureQuirk(t *testing.T) {
	r := newProbed(t, nil)
	vm := r.vm(0, 32, 1)
	e := r.startVM(vm, 0, 0)
	if err := r.dev.SetFaults(enclaves.Faults{
		Replies: []enclaves.ReplyFault{{Command: enclaves.SlotInfo, Errno: syscall.EIO}},
	}); err != nil {
		t.Fatal(err)
	}
	e.Crash()
	r.wait(vm.Hangup())
	if vm.State() != enclaves.StateInit {
		t.Errorf("the driver believes %v", vm.State())
	}
	r.closeVM(vm) // SLOT_FREE only
	if !e.Stopped() {
		t.Error("not stopped")
	}
	// The same when another enclave ended: the driver forgets one that runs, and
	// its memory must stay where it is until the device goes off.
	vm, other := r.vm(0, 32, 1), r.vm(64*mib, 32, 2)
	e = r.startVM(vm, 0, 0)
	r.startVM(other, 0, 0).Crash()
	r.wait(vm.Hangup())
	scrubbed := len(r.hyp.Scrubbed())
	if err := vm.Close(); !errorIs(err, syscall.EBUSY) {
		t.Errorf("close: %v", err)
	}
	if e.Stopped() || len(r.hyp.Scrubbed()) != scrubbed {
		t.Error("stopped or scrubbed")
	}
}

// A kernel that dies leaves enclaves; the next one finds the device enabled.
func TestProbeAfterCrashOfTheKernel(t *testing.T) {
	r := newRig(t, nil)
	r.probe()
	r.startVM(r.vm(0, 32, 1), 0, 0)
	launch := make(chan struct{})
	r.hyp.OnLaunch(blockLaunch(launch, nil))
	waiting, ended := r.vm(64*mib, 32, 2), make(chan struct{})
	go func() {
		defer close(ended)
		if _, err := waiting.Start(0, 0); !errors.Is(err, enclavestest.ErrGone) {
			t.Errorf("start: %v", err)
		}
	}()
	r.wait(launch)
	r.drv.Abandon()
	r.wait(ended)

	r.drv = enclavestest.NewDriver(r.dev.Function())
	r.drv.Timeout = patience
	r.hyp.OnStop(func(e *enclavestest.Enclave) error {
		e.Crash() // an event in the worst moment
		if !becomes(func() bool { return r.dev.Slots()[0].State == enclaves.StateStopped }) {
			t.Error("the device does not notice")
		}
		return nil
	})
	r.probe()
	if n := r.drv.Early(); n > 0 {
		t.Errorf("%d interrupts that the driver cannot take", n)
	}
	if s := r.dev.Slots(); len(s) > 0 {
		t.Errorf("slots %v", s)
	}
	if err := r.hyp.Err(true); err != nil {
		t.Error(err)
	}
	r.hyp.OnLaunch(nil)
	r.startVM(r.vm(0, 32, 1), 0, 0)
	if err := r.drv.Remove(); err != nil {
		t.Error(err)
	}
}

func TestRemoveWithEnclaves(t *testing.T) {
	r := newRig(t, nil)
	r.probe()
	a, b := r.startVM(r.vm(0, 32, 1), 0, 0), r.startVM(r.vm(64*mib, 32, 2), 0, 0)
	r.vm(128*mib, 32, 3)
	if err := r.drv.Remove(); err != nil {
		t.Fatal(err)
	}
	if !a.Stopped() || !b.Stopped() || len(r.hyp.Scrubbed()) != 96 || len(r.dev.Slots()) > 0 {
		t.Errorf("stopped %v and %v, %d regions scrubbed, slots %v", a.Stopped(), b.Stopped(), len(r.hyp.Scrubbed()), r.dev.Slots())
	}
	if n := r.drv.Early(); n > 0 {
		t.Errorf("%d interrupts that the driver cannot take", n)
	}
}

func TestDriverSeesTheDevicesErrors(t *testing.T) {
	r := newProbed(t, nil)
	vm := r.vm(0, 32, 1)
	for _, tt := range []struct {
		err  error
		want syscall.Errno
	}{
		{fmt.Errorf("image: bad CRC: %w", syscall.EBADMSG), syscall.EBADMSG},
		{fmt.Errorf("no QEMU: %w", syscall.ENOENT), syscall.ENOENT},
		{errors.New("something"), syscall.EIO},
	} {
		r.hyp.OnLaunch(failLaunch(tt.err))
		if _, err := vm.Start(0, 0); !errorIs(err, tt.want) {
			t.Errorf("start: %v, want %v", err, tt.want)
		}
	}
	r.hyp.OnLaunch(nil)
	r.startVM(vm, 0, 0) // the slot is as it was
	r.closeVM(vm)

	vms := []*enclavestest.VM{}
	for range 4 {
		vm, err := r.drv.CreateVM()
		if err != nil {
			t.Fatal(err)
		}
		vms = append(vms, vm)
	}
	if _, err := r.drv.CreateVM(); !errorIs(err, syscall.ENOSPC) {
		t.Errorf("fifth slot: %v", err)
	}
	for _, vm := range vms {
		r.closeVM(vm)
	}
}

// TestWithoutScrub is the counter-proof for those that look for scrubbed memory.
func TestWithoutScrub(t *testing.T) {
	r := newRig(t, func(c *enclaves.Config) { c.Weaken = weaken.Only(weaken.ScrubOnFree) })
	r.probe()
	vm := r.vm(0, 32, 1)
	e := r.startVM(vm, 0, 0)
	r.closeVM(vm)
	r.startVM(r.vm(0, 32, 1), 0, 0)
	if err := r.drv.Remove(); err != nil {
		t.Fatal(err)
	}
	if !e.Stopped() || len(r.hyp.Scrubbed()) > 0 || len(r.dev.Slots()) > 0 {
		t.Errorf("stopped %v, %d regions scrubbed, slots %v", e.Stopped(), len(r.hyp.Scrubbed()), r.dev.Slots())
	}
}
