package enclaves_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/devices/enclaves"
	"github.com/nitrolab/nitrolab/devices/enclaves/enclavestest"
)

// patience is how long tests wait for what should come at once.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	mib = 1 << 20
	gib = 1 << 30
)

// ram is the RAM of the parent in tests: 1 GiB from 0 and 1 GiB from 4 GiB, as on
// a machine with a hole for PCI.
var ram = []enclaves.Region{{Addr: 0, Size: gib}, {Addr: 4 * gib, Size: gib}}

// A rig is a device with all around it.
type rig struct {
	*testing.T
	dev *enclaves.Device
	hyp *enclavestest.Hypervisor
	drv *enclavestest.Driver
}

// newRig makes a device for a parent of 8 CPUs on 4 cores, closed at the end of
// the test, with a driver that has not probed. edit may change the Config.
func newRig(t *testing.T, edit func(*enclaves.Config)) *rig {
	t.Helper()
	r := &rig{T: t, hyp: enclavestest.NewHypervisor(ram...)}
	uid := uint64(0x1700)
	cfg := enclaves.Config{
		Hypervisor:     r.hyp,
		CPUs:           8,
		ThreadsPerCore: 2,
		NewSlotUID:     func() uint64 { uid++; return uid },
	}
	if edit != nil {
		edit(&cfg)
	}
	var err error
	if r.dev, err = enclaves.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.hyp.OnStop(nil)
		r.hyp.OnScrub(nil)
		if err := r.dev.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := r.hyp.Err(true); err != nil {
			t.Error(err)
		}
	})
	r.drv = enclavestest.NewDriver(r.dev.Function())
	r.drv.Timeout = patience
	return r
}

// newProbed is newRig with a driver that has probed, and that is removed.
func newProbed(t *testing.T, edit func(*enclaves.Config)) *rig {
	t.Helper()
	r := newRig(t, edit)
	r.probe()
	t.Cleanup(func() { r.drv.Abandon() })
	return r
}

func (r *rig) probe() {
	r.Helper()
	if err := r.drv.Probe(); err != nil {
		r.Fatal(err)
	}
}

// do executes a command that has to succeed.
func (r *rig) do(c enclaves.Command, q enclaves.Request) enclaves.Reply {
	r.Helper()
	reply, err := r.drv.Do(c, q)
	if err != nil {
		r.Fatal(err)
	}
	return reply
}

// slot makes a slot with 64 MiB at addr and the two CPUs of core.
func (r *rig) slot(addr uint64, core uint32) uint64 {
	r.Helper()
	uid := r.do(enclaves.SlotAlloc, enclaves.EmptyRequest{}).SlotUID
	r.do(enclaves.SlotAddMem, enclaves.AddMemRequest{SlotUID: uid, Region: enclaves.Region{Addr: addr, Size: 64 * mib}})
	r.do(enclaves.SlotAddVCPU, enclaves.AddVCPURequest{SlotUID: uid, VCPU: 2 * core})
	r.do(enclaves.SlotAddVCPU, enclaves.AddVCPURequest{SlotUID: uid, VCPU: 2*core + 1})
	return uid
}

// start makes a slot and starts its enclave.
func (r *rig) start(addr uint64, core uint32) (uid uint64, e *enclavestest.Enclave) {
	r.Helper()
	uid = r.slot(addr, core)
	reply := r.do(enclaves.EnclaveStart, enclaves.StartRequest{SlotUID: uid})
	if e = r.hyp.Enclave(reply.CID); e == nil {
		r.Fatalf("no enclave with CID %d", reply.CID)
	}
	return uid, e
}

// crash ends an enclave by itself and waits until the device knows.
func (r *rig) crash(uid uint64, e *enclavestest.Enclave) {
	r.Helper()
	e.Crash()
	r.eventually(func() bool { return r.state(uid) == enclaves.StateStopped })
}

func (r *rig) state(uid uint64) enclaves.State {
	r.Helper()
	for _, s := range r.dev.Slots() {
		if s.UID == uid {
			return s.State
		}
	}
	r.Fatalf("no slot %#x", uid)
	return 0
}

// eventually polls for a state that nothing announces.
func (r *rig) eventually(cond func() bool) {
	r.Helper()
	if !becomes(cond) {
		r.Fatal("waited in vain")
	}
}

func becomes(cond func() bool) bool {
	for end := time.Now().Add(patience); !cond(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// wait returns when c is closed.
func (r *rig) wait(c <-chan struct{}) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case <-c:
	case <-ctx.Done():
		r.Fatal("waited in vain")
	}
}

// errorIs is errors.Is, and nil is nil.
func errorIs(err, want error) bool {
	if want == nil {
		return err == nil
	}
	return errors.Is(err, want)
}
