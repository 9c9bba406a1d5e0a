package enclaves_test

import (
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitrolab/nitrolab/devices/enclaves"
	"github.com/nitrolab/nitrolab/devices/enclaves/enclavestest"
	"github.com/nitrolab/nitrolab/devices/pci"
)

func faulty(f ...enclaves.ReplyFault) func(*enclaves.Config) {
	return func(c *enclaves.Config) { c.Faults.Replies = f }
}

func TestReplyFaults(t *testing.T) {
	const c = enclaves.SlotCount
	for _, tt := range []struct {
		name  string
		fault enclaves.ReplyFault
		// Of two commands, and then of a minute.
		rc         [2]int32
		replies    [3]uint64
		interrupts [3]int
	}{
		{"none", enclaves.ReplyFault{Command: enclaves.SlotInfo, Lost: true}, [2]int32{}, [3]uint64{1, 2, 2}, [3]int{1, 2, 2}},
		{"lost", enclaves.ReplyFault{Command: c, Lost: true}, [2]int32{}, [3]uint64{}, [3]int{}},
		{"lost once", enclaves.ReplyFault{Command: c, Lost: true, Times: 1}, [2]int32{}, [3]uint64{0, 1, 1}, [3]int{0, 1, 1}},
		{"any command", enclaves.ReplyFault{Lost: true}, [2]int32{}, [3]uint64{}, [3]int{}},
		{"no interrupt", enclaves.ReplyFault{Command: c, NoInterrupt: true}, [2]int32{}, [3]uint64{1, 2, 2}, [3]int{}},
		{"duplicates", enclaves.ReplyFault{Command: c, Duplicates: 2}, [2]int32{}, [3]uint64{1, 2, 2}, [3]int{3, 6, 6}},
		{"late duplicate", enclaves.ReplyFault{Command: c, Duplicates: 2, DuplicateDelay: time.Second, Times: 1},
			[2]int32{}, [3]uint64{1, 2, 2}, [3]int{1, 2, 4}},
		{"late", enclaves.ReplyFault{Command: c, Delay: time.Second}, [2]int32{}, [3]uint64{0, 0, 2}, [3]int{0, 0, 2}},
		{"late once", enclaves.ReplyFault{Command: c, Delay: time.Second, Times: 1}, [2]int32{}, [3]uint64{0, 1, 2}, [3]int{0, 1, 2}},
		{"later than we wait", enclaves.ReplyFault{Command: c, Delay: time.Hour}, [2]int32{}, [3]uint64{}, [3]int{}},
		{"errno", enclaves.ReplyFault{Command: c, Errno: syscall.EDOM, Times: 1}, [2]int32{-33, 0}, [3]uint64{1, 2, 2}, [3]int{1, 2, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, p := newBus(t, faulty(tt.fault))
				b := bar{p}
				b.on()
				for i := range 3 {
					if i < 2 {
						b.send(c, enclaves.EmptyRequest{})
						synctest.Wait()
						if got := b.reply(t).RC; got != tt.rc[i] {
							t.Errorf("command %d: rc %d, want %d", i, got, tt.rc[i])
						}
					} else {
						time.Sleep(time.Minute)
					}
					if got := b.read(enclaves.RegEvents, 4); got != tt.replies[i] {
						t.Errorf("step %d: %d replies, want %d", i, got, tt.replies[i])
					}
					if got := b.replies(); got != tt.interrupts[i] {
						t.Errorf("step %d: %d interrupts, want %d", i, got, tt.interrupts[i])
					}
				}
			})
		})
	}
}

func TestDuplicatesAreSpaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p := newBus(t, faulty(enclaves.ReplyFault{Duplicates: 2, DuplicateDelay: time.Second}))
		b := bar{p}
		b.on()
		b.send(enclaves.SlotCount, enclaves.EmptyRequest{})
		time.Sleep(time.Second / 2)
		for want := 1; want <= 3; want++ {
			if got := b.replies(); got != want {
				t.Errorf("%d interrupts, want %d", got, want)
			}
			time.Sleep(time.Second)
		}
	})
}

// An errno fault answers instead of the command, the others besides it.
func TestFaultAndExecution(t *testing.T) {
	r, p := newBus(t, faulty(
		enclaves.ReplyFault{Command: enclaves.SlotAlloc, Errno: syscall.ENOMEM, Times: 2},
		enclaves.ReplyFault{Command: enclaves.SlotAlloc, Lost: true},
	))
	b := bar{p}
	b.on()
	for i, want := range []int{0, 0, 1, 2} {
		b.send(enclaves.SlotAlloc, enclaves.EmptyRequest{})
		if got := len(r.dev.Slots()); got != want {
			t.Errorf("command %d: %d slots, want %d", i, got, want)
		}
	}
	if err := r.dev.SetFaults(enclaves.Faults{}); err != nil {
		t.Fatal(err)
	}
	b.send(enclaves.SlotAlloc, enclaves.EmptyRequest{})
	if got := b.replies(); got != 3 {
		t.Errorf("%d replies", got)
	}
}

// The stock driver takes a reply that comes after its timeout for that of the next
// command.
func TestLateReplyIsTakenForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newProbed(t, faulty(
			enclaves.ReplyFault{Command: enclaves.SlotCount, Delay: 130 * time.Second, Times: 1},
			enclaves.ReplyFault{Command: enclaves.SlotAlloc, Delay: 20 * time.Second},
		))
		r.drv.Timeout = 120 * time.Second
		if _, err := r.drv.Do(enclaves.SlotCount, enclaves.EmptyRequest{}); !errors.Is(err, enclavestest.ErrTimeout) {
			t.Fatalf("no timeout: %v", err)
		}
		reply, err := r.drv.Do(enclaves.SlotAlloc, enclaves.EmptyRequest{})
		if err != nil || reply.SlotUID != 0 || reply.MemRegions != 0 {
			t.Errorf("%+v, %v, want the reply to SLOT_COUNT", reply, err)
		}
	})
}

func TestLateRepliesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p := newBus(t, faulty(enclaves.ReplyFault{Delay: time.Second}))
		b := bar{p}
		b.on()
		for range 1000 {
			b.send(enclaves.SlotCount, enclaves.EmptyRequest{})
		}
		time.Sleep(2 * time.Second)
		if got := b.replies(); got != 64 {
			t.Errorf("%d replies", got)
		}
		b.send(enclaves.SlotCount, enclaves.EmptyRequest{})
		time.Sleep(2 * time.Second)
		if got := b.replies(); got != 65 {
			t.Errorf("%d replies after a pause", got)
		}
	})
}

// No late reply reaches the next life.
func TestLateReplyDiesWithTheDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, p := newBus(t, faulty(
			enclaves.ReplyFault{Delay: time.Second, Times: 1},
			enclaves.ReplyFault{Duplicates: 3, DuplicateDelay: time.Second, Times: 1},
		))
		b := bar{p}
		b.on()
		b.send(enclaves.SlotCount, enclaves.EmptyRequest{})
		b.send(enclaves.SlotCount, enclaves.EmptyRequest{})
		b.write(enclaves.RegEnable, 1, 0)
		b.write(enclaves.RegEnable, 1, 1)
		time.Sleep(time.Minute)
		if got := b.replies(); got != 1 {
			t.Errorf("%d interrupts", got)
		}
		if got := b.read(enclaves.RegEvents, 4); got != 0 {
			t.Errorf("counters %#x", got)
		}
		if err := r.dev.SetFaults(enclaves.Faults{Replies: []enclaves.ReplyFault{{Delay: time.Hour}}}); err != nil {
			t.Fatal(err)
		}
		b.send(enclaves.SlotCount, enclaves.EmptyRequest{})
		begin := time.Now()
		if err := r.dev.Close(); err != nil || time.Since(begin) > 0 {
			t.Errorf("close took %v: %v", time.Since(begin), err)
		}
	})
}

func TestHandshakeFaults(t *testing.T) {
	for _, tt := range []struct {
		name   string
		faults enclaves.Faults
		want   error
	}{
		{"version", enclaves.Faults{Version: 2}, enclavestest.ErrProbe},
		{"enable stuck at 0", enclaves.Faults{EnableStuck: true}, enclavestest.ErrProbe},
		{"none", enclaves.Faults{Version: 1}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(c *enclaves.Config) { c.Faults = tt.faults })
			err := r.drv.Probe()
			if !errorIs(err, tt.want) {
				t.Fatalf("probe: %v, want %v", err, tt.want)
			}
			if err == nil {
				r.drv.Abandon()
			}
		})
	}
	t.Run("enable stuck at 1", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			r.probe()
			e := r.startVM(r.vm(0, 32, 1), 0, 0)
			if err := r.dev.SetFaults(enclaves.Faults{EnableStuck: true}); err != nil {
				t.Fatal(err)
			}
			if err := r.drv.Remove(); !errors.Is(err, enclavestest.ErrDisable) {
				t.Errorf("remove: %v", err)
			}
			if e.Stopped() {
				t.Error("stopped")
			}
			if err := r.dev.Close(); err != nil { // not held up by a fault
				t.Error(err)
			}
		})
	})
}

func TestLostEvents(t *testing.T) {
	r := newProbed(t, func(c *enclaves.Config) { c.Faults.LostEvents = true })
	vm := r.vm(0, 32, 1)
	e := r.startVM(vm, 0, 0)
	r.crash(vm.UID, e)
	if vm.State() != enclaves.StateRunning || r.events() != 0 {
		t.Errorf("the driver believes %v, %d events", vm.State(), r.events())
	}
	r.closeVM(vm) // with ENCLAVE_STOP, as it knows nothing
}

func TestFaultsAreChecked(t *testing.T) {
	for _, f := range []enclaves.ReplyFault{
		{Command: 12}, {Times: -1}, {Delay: -1}, {Errno: 4096}, {Duplicates: -1}, {Duplicates: 17}, {DuplicateDelay: -1},
	} {
		r := newRig(t, nil)
		if err := r.dev.SetFaults(enclaves.Faults{Replies: []enclaves.ReplyFault{f}}); err == nil {
			t.Errorf("%+v taken", f)
		}
	}
}

// The caller's slice is its own.
func TestFaultsAreCopied(t *testing.T) {
	f := []enclaves.ReplyFault{{Lost: true, Times: 2}}
	_, p := newBus(t, faulty(f...))
	b := bar{p}
	b.on()
	b.send(enclaves.SlotCount, enclaves.EmptyRequest{})
	if f[0].Times != 2 {
		t.Error("changed")
	}
	if got := b.Count(pci.MSIX, 0); got != 0 {
		t.Errorf("%d interrupts", got)
	}
}
