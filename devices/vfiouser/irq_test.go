package vfiouser_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/pci"
	vt "github.com/nitrolab/nitrolab/devices/vfiouser/vfiousertest"
)

const (
	assign  = vt.DataEventFD | vt.ActionTrigger
	trigger = vt.DataNone | vt.ActionTrigger
)

// irqs sends SET_IRQS, which must succeed.
func irqs(t *testing.T, c *vt.Client, flags, index, start, count uint32, events ...*vt.Event) {
	t.Helper()
	if errno := c.SetIRQs(flags, index, start, count, events...); errno != 0 {
		t.Fatalf("SET_IRQS %#x index %d, %d+%d: %v", flags, index, start, count, errno)
	}
}

// counts are how often each event was signalled since the last look.
func counts(events []*vt.Event) (n [4]int) {
	for i, e := range events {
		n[i] = e.Count()
	}
	return n
}

// TestVectors follows four vectors through everything that can be done to them.
func TestVectors(t *testing.T) {
	checkLeaks(t)
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	e := c.EnableMSIX(4)
	raise := func(what string, want [4]int) {
		t.Helper()
		for v := range 4 {
			if got := d.f.Interrupt(v); got != (want[v] > 0) {
				t.Errorf("%s: Interrupt(%d) = %t, want %t", what, v, got, want[v] > 0)
			}
		}
		if got := counts(e); got != want {
			t.Errorf("%s: signals %v, want %v", what, got, want)
		}
	}
	fds := held(t).FDs
	raise("all", [4]int{1, 1, 1, 1})
	irqs(t, c, assign, vt.MSIX, 1, 2) // without descriptors: takes two away
	if got := held(t).FDs; got != fds-2 {
		t.Errorf("%d descriptors, want %d", got, fds-2)
	}
	raise("two taken away", [4]int{1, 0, 0, 1})
	irqs(t, c, assign, vt.MSIX, 1, 2, e[1], e[2]) // both have one pending
	if got := counts(e); got != [4]int{0, 1, 1, 0} {
		t.Errorf("signals %v after vectors came back", got)
	}
	raise("two given back", [4]int{1, 1, 1, 1})

	irqs(t, c, assign, vt.MSIX, 0, 1, e[3]) // in place of the old one
	if got := held(t).FDs; got != fds {
		t.Errorf("%d descriptors, want %d", got, fds)
	}
	d.f.Interrupt(0)
	if got := counts(e); got != [4]int{0, 0, 0, 1} {
		t.Errorf("signals %v after vector 0 moved", got)
	}
	irqs(t, c, assign, vt.MSIX, 0, 4, e...) // all at once

	irqs(t, c, trigger, vt.MSIX, 1, 2) // the client tries its own side
	if got := counts(e); got != [4]int{0, 1, 1, 0} {
		t.Errorf("signals %v after a loopback", got)
	}
	c.Do(vt.SetIRQs, append(vt.U32(nil, 23, vt.DataBool|vt.ActionTrigger, vt.MSIX, 1, 3), 1, 0, 255))
	if got := counts(e); got != [4]int{0, 1, 0, 1} {
		t.Errorf("signals %v after a loopback by booleans", got)
	}

	irqs(t, c, trigger, vt.MSIX, 0, 0) // disables
	if got := held(t).FDs; got != fds-4 {
		t.Errorf("%d descriptors, want %d", got, fds-4)
	}
	raise("disabled", [4]int{})
}

// TestPendingBits: what could not be delivered shows in the PBA, which QEMU reads
// from the device.
func TestPendingBits(t *testing.T) {
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	c.EnableMSIX(1)
	d.f.Interrupt(2)
	d.f.Interrupt(0)
	if got := c.ReadBAR(1, 0x800, 8); got != 1<<2 {
		t.Errorf("pending bits %#x, want %#x", got, 1<<2)
	}
	e := vt.NewEvent(t)
	irqs(t, c, assign, vt.MSIX, 2, 1, e)
	if got := c.ReadBAR(1, 0x800, 8); got != 0 || e.Count() != 1 {
		t.Errorf("pending bits %#x after delivery", got)
	}
}

// TestMSI is enabled by its own index.
func TestMSI(t *testing.T) {
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	at := c.Capability(0x05)
	c.SetConfig(at+2, 2, 1|1<<4) // enable, two vectors
	e := []*vt.Event{vt.NewEvent(t), vt.NewEvent(t)}
	irqs(t, c, assign, vt.MSI, 0, 2, e...)
	if !d.f.Interrupt(1) || counts(e) != [4]int{0, 1} {
		t.Error("MSI 1 was not delivered")
	}
}

// TestINTx: a line that stays asserted is heard again each time the client says that
// it has handled it, in either of the two ways, and not while it is masked.
func TestINTx(t *testing.T) {
	checkLeaks(t)
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	e := c.Vectors(vt.INTx, 0, 1)[0]
	expect := func(what string, want int) {
		t.Helper()
		c.Sync()
		if got := e.Count(); got != want {
			t.Errorf("%s: %d signals, want %d", what, got, want)
		}
	}
	unmask := func() { t.Helper(); irqs(t, c, vt.DataNone|vt.ActionUnmask, vt.INTx, 0, 1) }
	c.WriteBAR(0, regLevel, 1, 1)
	expect("asserted", 1)
	c.WriteBAR(0, regLevel, 1, 1)
	expect("asserted again", 0)
	unmask()
	expect("handled, still asserted", 1)
	c.WriteBAR(0, regLevel, 1, 0)
	unmask()
	expect("handled and gone", 0)

	irqs(t, c, vt.DataNone|vt.ActionMask, vt.INTx, 0, 1)
	c.WriteBAR(0, regLevel, 1, 1)
	expect("masked", 0)
	unmask()
	expect("unmasked", 1)
	irqs(t, c, vt.DataNone|vt.ActionMask, vt.INTx, 0, 1)
	c.WriteBAR(0, regLevel, 1, 0)
	c.WriteBAR(0, regLevel, 1, 1)
	c.WriteBAR(0, regLevel, 1, 0)
	unmask()
	expect("came and went while masked", 0)
	c.Do(vt.SetIRQs, append(vt.U32(nil, 21, vt.DataBool|vt.ActionMask, vt.INTx, 0, 1), 0))
	c.WriteBAR(0, regLevel, 1, 1)
	expect("masked by a boolean that says no", 1)
	c.Do(vt.SetIRQs, append(vt.U32(nil, 21, vt.DataBool|vt.ActionMask, vt.INTx, 0, 1), 1))
	c.Do(vt.SetIRQs, append(vt.U32(nil, 21, vt.DataBool|vt.ActionUnmask, vt.INTx, 0, 1), 0))
	expect("masked by a boolean", 0)
	c.Do(vt.SetIRQs, append(vt.U32(nil, 21, vt.DataBool|vt.ActionUnmask, vt.INTx, 0, 1), 1))
	expect("unmasked by a boolean", 1)

	// KVM's way: mask, resample descriptor, unmask; then the kernel signals it.
	irqs(t, c, vt.DataNone|vt.ActionMask, vt.INTx, 0, 1)
	resample := vt.NewEvent(t)
	irqs(t, c, vt.DataEventFD|vt.ActionUnmask, vt.INTx, 0, 1, resample)
	unmask()
	expect("resample is set up", 1)
	for range 100 {
		resample.Signal()
		e.Wait()
	}
	again := vt.NewEvent(t)
	irqs(t, c, vt.DataEventFD|vt.ActionUnmask, vt.INTx, 0, 1, again) // in place of the old one
	resample.Signal()
	again.Signal()
	if got := e.Wait(); got != 1 {
		t.Errorf("%d signals, want that of the new descriptor", got)
	}
	irqs(t, c, vt.DataEventFD|vt.ActionUnmask, vt.INTx, 0, 1) // without
	again.Signal()
	expect("resample is gone", 0)

	// A line that is asserted when the client comes back is heard at once.
	resample = vt.NewEvent(t)
	fds := held(t).FDs
	irqs(t, c, vt.DataEventFD|vt.ActionUnmask, vt.INTx, 0, 1, resample)
	irqs(t, c, vt.DataNone|vt.ActionMask, vt.INTx, 0, 1)
	irqs(t, c, trigger, vt.INTx, 0, 0)
	if got := held(t).FDs; got != fds-1 {
		t.Errorf("%d descriptors after INTx was disabled, want %d", got, fds-1)
	}
	irqs(t, c, assign, vt.INTx, 0, 1, e)
	expect("enabled again", 1)
	c.SetConfig(4, 2, uint32(pci.CommandMemory|pci.CommandINTxDisable))
	unmask()
	expect("disabled in COMMAND", 0)
	c.SetConfig(4, 2, uint32(pci.CommandMemory))
	expect("enabled in COMMAND", 1)
}

// TestEventsOfTheMachine: ERR and REQ can be set up, and nobody signals them.
func TestEventsOfTheMachine(t *testing.T) {
	checkLeaks(t)
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	errs, req := c.Vectors(vt.Err, 0, 1)[0], c.Vectors(vt.Req, 0, 1)[0]
	c.Reset()
	c.Read(0, 1<<40, make([]byte, 4))
	c.Close()
	if err := c.Result(); err != nil {
		t.Error(err)
	}
	if errs.Count()+req.Count() != 0 {
		t.Error("the machine was told of an error")
	}
}

// TestFullEventFD: one that cannot take more is no obstacle.
func TestFullEventFD(t *testing.T) {
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	e := c.EnableMSIX(1)[0]
	if _, err := unix.Write(e.FD, vt.U64(nil, 1<<64-2)); err != nil {
		t.Fatal(err)
	}
	if !d.f.Interrupt(0) {
		t.Error("not delivered")
	}
	if errno := c.SetIRQs(trigger, vt.MSIX, 0, 1); errno != 0 {
		t.Error(errno)
	}
}
