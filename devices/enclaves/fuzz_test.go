package enclaves_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/enclaves"
	"github.com/nitrolab/nitrolab/devices/enclaves/enclavestest"
)

// A fuzzer executes one sequence of commands on a device and on the model.
type fuzzer struct {
	t   *testing.T
	in  []byte
	dev *enclaves.Device
	hyp *enclavestest.Hypervisor
	drv *enclavestest.Driver

	mu sync.Mutex // the hooks of hyp
	m  model
}

func (f *fuzzer) byte() byte {
	if len(f.in) == 0 {
		return 0
	}
	b := f.in[0]
	f.in = f.in[1:]
	return b
}

// once takes the error that a hook has to give.
func (f *fuzzer) once(e *syscall.Errno) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if *e == 0 {
		return nil
	}
	err := *e
	*e = 0
	return err
}

func fuzzCommands(t *testing.T, in []byte) {
	f := &fuzzer{t: t, in: in, hyp: enclavestest.NewHypervisor(modelRAM...)}
	var fails struct{ launch, stop, scrub syscall.Errno }
	f.hyp.OnLaunch(func(context.Context, enclaves.LaunchConfig) error { return f.once(&fails.launch) })
	f.hyp.OnStop(func(*enclavestest.Enclave) error { return f.once(&fails.stop) })
	f.hyp.OnScrub(func([]enclaves.Region) error { return f.once(&fails.scrub) })
	set := func(launch, stop, scrub syscall.Errno) {
		f.mu.Lock()
		defer f.mu.Unlock()
		fails.launch, fails.stop, fails.scrub = launch, stop, scrub
		f.m.launchErr, f.m.stopErr, f.m.scrubErr = launch, stop, scrub
	}
	uid := uint64(0)
	dev, err := enclaves.New(enclaves.Config{
		Hypervisor: f.hyp, CPUs: modelCPUs, ThreadsPerCore: modelThreads,
		MaxSlots: modelSlots, MaxRegions: modelRegions, MinMemory: modelMemory,
		NewSlotUID: func() uint64 { uid++; return uid },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.dev = dev
	f.drv = enclavestest.NewDriver(dev.Function())
	f.drv.Timeout = patience
	if err := f.drv.Probe(); err != nil {
		t.Fatal(err)
	}

	for range 200 {
		if len(f.in) == 0 {
			break
		}
		switch op := f.byte() % 24; {
		case op < 18:
			f.command(enclaves.Command(op % 13))
		case op < 20:
			f.crash(f.byte())
		case op == 20:
			set(syscall.Errno(f.byte()%40), syscall.Errno(f.byte()%3), syscall.Errno(f.byte()%3))
		case op == 21:
			set(0, 0, 0)
		case op == 22: // rmmod, insmod
			set(0, 0, 0)
			if err := f.drv.Remove(); err != nil {
				t.Fatal(err)
			}
			f.wentOff()
			if err := f.drv.Probe(); err != nil {
				t.Fatal(err)
			}
		case op == 23: // the kernel dies, the machine is reset
			set(0, 0, 0)
			f.drv.Abandon()
			dev.Function().Reset()
			if err := f.drv.Probe(); err != nil {
				t.Fatal(err)
			}
			f.wentOff()
		}
		f.check()
	}

	set(0, 0, 0)
	f.drv.Abandon()
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	f.wentOff()
	f.check()
	if err := f.hyp.Err(true); err != nil {
		t.Fatal(err)
	}
	if n := f.drv.Early(); n > 0 {
		t.Fatalf("%d interrupts that the driver cannot take", n)
	}
}

// command executes one on both, with values near those that matter.
func (f *fuzzer) command(c enclaves.Command) {
	uid := uint64(0)
	if k := int(f.byte() % 8); k < len(f.m.slots) {
		uid = f.m.slots[k].uid
	} else if k == 7 {
		uid = f.m.uid + 1
	} else if len(f.m.slots) > 0 {
		uid = f.m.slots[len(f.m.slots)-1].uid
	}
	var r enclaves.Request = enclaves.SlotRequest{SlotUID: uid}
	switch c {
	case enclaves.EnclaveStart:
		r = enclaves.StartRequest{SlotUID: uid, CID: f.cid(), Flags: uint64(f.byte() % 3)}
	case enclaves.EnclaveGetSlot:
		r = enclaves.GetSlotRequest{CID: f.cid()}
	case enclaves.SlotAlloc, enclaves.SlotCount:
		r = enclaves.EmptyRequest{}
	case enclaves.SlotAddMem:
		g := enclaves.Region{Addr: uint64(f.byte()%36) * 2 * mib, Size: uint64(f.byte()%6) * 2 * mib}
		switch k := f.byte(); {
		case k < 64:
			g.Addr += gib
		case k == 64:
			g.Addr++
		case k == 65:
			g.Size++
		case k == 66:
			g.Addr = -g.Addr
		case k == 67:
			g.Size = -g.Size
		}
		r = enclaves.AddMemRequest{SlotUID: uid, Region: g}
	case enclaves.SlotAddVCPU:
		r = enclaves.AddVCPURequest{SlotUID: uid, VCPU: uint32(f.byte() % (modelCPUs + 2))}
	case enclaves.SlotAddBulkVCPUs:
		r = enclaves.AddBulkVCPUsRequest{SlotUID: uid, Count: uint64(f.byte() % (modelCPUs + 1))}
	}
	want := fail(syscall.EINVAL)
	if c.RequestSize() > 0 {
		want = f.m.do(c, r)
	}
	got, err := f.drv.Do(c, r)
	if err != nil && got.RC == 0 {
		f.t.Fatal(err)
	}
	if s := f.m.slot(uid); c == enclaves.EnclaveStart && got.RC == 0 && s != nil && s.cid == 0 {
		// The device's choice: any that is right and not in use.
		for _, o := range f.m.slots {
			if got.CID < 4 || got.CID >= 0xffffffff || o.state == enclaves.StateRunning && o.cid == got.CID {
				f.t.Fatalf("chose CID %d", got.CID)
			}
		}
		s.cid, want.CID = got.CID, got.CID
	}
	if got != want {
		f.t.Fatalf("%v %+v:\n got %+v,\nwant %+v", c, r, got, want)
	}
}

func (f *fuzzer) cid() uint64 {
	return []uint64{0, 0, 0, 3, 4, 5, 6, 0xffffffff, 1 << 32, 5, 16}[f.byte()%11]
}

// crash ends an enclave, if there is one.
func (f *fuzzer) crash(k byte) {
	if len(f.m.slots) == 0 {
		return
	}
	s := f.m.slots[int(k)%len(f.m.slots)]
	if s.state != enclaves.StateRunning {
		return
	}
	f.hyp.Enclave(s.cid).Crash()
	s.state = enclaves.StateStopped
	f.m.events++
	if !becomes(func() bool {
		i := slices.IndexFunc(f.dev.Slots(), func(x enclaves.SlotStatus) bool { return x.UID == s.uid })
		return f.dev.Slots()[i].State == enclaves.StateStopped
	}) {
		f.t.Fatal("the device does not notice the end of an enclave")
	}
}

// wentOff frees all slots of the model.
func (f *fuzzer) wentOff() {
	for _, s := range f.m.slots {
		f.m.scrubbed = append(f.m.scrubbed, s.regions...)
	}
	f.m.slots, f.m.events = nil, 0
}

// check compares device and model, and what the hypervisor saw.
func (f *fuzzer) check() {
	f.t.Helper()
	var got, want []enclaves.SlotStatus
	got = f.dev.Slots()
	for _, s := range f.m.slots {
		w := enclaves.SlotStatus{
			UID: s.uid, State: s.state, CID: uint32(s.cid), Debug: s.flags == 1, Regions: len(s.regions), CPUs: s.cpus,
		}
		for _, g := range s.regions {
			w.Memory += g.Size
		}
		want = append(want, w)
	}
	if len(got)+len(want) > 0 {
		if diff := gocmp.Diff(want, got); diff != "" {
			f.t.Fatal(diff)
		}
	}
	sorted := func(r []enclaves.Region) []enclaves.Region {
		return slices.SortedFunc(slices.Values(r), func(a, b enclaves.Region) int {
			return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Size, b.Size))
		})
	}
	if diff := gocmp.Diff(sorted(f.m.scrubbed), sorted(f.hyp.Scrubbed())); diff != "" {
		f.t.Fatalf("scrubbed, once for each time that it was given: %s", diff)
	}
	if err := f.hyp.Err(false); err != nil {
		f.t.Fatal(err)
	}
	var p [2]byte
	f.dev.RegisterHandler().ReadBAR(enclaves.RegEvents+2, p[:])
	if got := int(p[0]) | int(p[1])<<8; got != f.m.events && len(f.m.slots) > 0 {
		f.t.Fatalf("%d events, want %d", got, f.m.events)
	}
}

// A sequence that starts, crashes and frees: alloc, memory, CPUs, start ...
var fuzzSeed = []byte{
	4, 0, 6, 0, 0, 3, 100, 6, 0, 4, 2, 0, 11, 0, 2, 1, 0, 0, 0, 10, 0, 2, 0, 3, 18, 0, 10, 0, 5, 0,
	4, 0, 6, 0, 2, 5, 100, 7, 0, 2, 7, 0, 3, 20, 5, 1, 1, 1, 0, 4, 1, 1, 0, 4, 1, 3, 0, 5, 0, 5, 0, 22, 4, 0, 23,
}

func FuzzCommands(f *testing.F) {
	f.Add(fuzzSeed)
	f.Fuzz(fuzzCommands)
}

func TestRandomCommandsAgainstModel(t *testing.T) {
	for range 40 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		// Biased: complete enclaves come up often enough.
		var in []byte
		for len(in) < 600 {
			switch rng.IntN(8) {
			case 0, 1:
				slot, at := byte(rng.IntN(3)), byte(rng.IntN(28))
				in = append(in, 4, 0, 6, slot, at, 3, byte(rng.IntN(256)), 11, slot, 2, 1, slot, byte(rng.IntN(11)), byte(rng.IntN(2)))
			case 2:
				in = append(in, 18, byte(rng.IntN(3)))
			case 3:
				in = append(in, 3, byte(rng.IntN(3)), 5, byte(rng.IntN(3)))
			default:
				in = append(in, byte(rng.IntN(256)), byte(rng.IntN(256)), byte(rng.IntN(256)))
			}
		}
		if !t.Run("", func(t *testing.T) { fuzzCommands(t, in) }) {
			t.Fatalf("seed %#x", seed)
		}
	}
}
