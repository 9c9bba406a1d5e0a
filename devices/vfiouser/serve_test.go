package vfiouser_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/nitrolab/nitrolab/devices/pci"
	vt "github.com/nitrolab/nitrolab/devices/vfiouser/vfiousertest"
)

func TestContextEnds(t *testing.T) {
	ram := vt.NewRAM(t, ramSize)
	for _, when := range []string{"before the first message", "in a message", "while idle", "while busy", "while a reply is not read"} {
		t.Run(when, func(t *testing.T) {
			checkLeaks(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := vt.ServeContext(ctx, t, newDevice(t, nil).f, nil)
			var busy sync.WaitGroup
			switch when {
			case "in a message":
				c.Negotiate()
				c.Raw([]byte{1, 0, 9})
			case "while idle":
				c.Negotiate()
				c.MapAll(ram, 0)
				c.Vectors(vt.MSIX, 0, 4)
			case "while busy":
				c.Negotiate()
				busy.Go(func() {
					message := append(vt.Header(1, vt.RegionWrite, 20, vt.FlagNoReply), vt.Access(0, 0, 4)...)
					for c.Raw(append(message, 1, 2, 3, 4)) {
					}
				})
			case "while a reply is not read":
				c.Negotiate()
				busy.Go(func() {
					for c.Raw(append(vt.Header(1, vt.RegionRead, 16, 0), vt.Access(vt.ConfigSpace, 0, 4096)...)) {
					}
				})
			}
			cancel()
			if err := c.Result(); !errors.Is(err, context.Canceled) {
				t.Errorf("Serve = %v, want context.Canceled", err)
			}
			busy.Wait()
		})
	}
}

// TestContextAlreadyOver: nothing is served.
func TestContextAlreadyOver(t *testing.T) {
	checkLeaks(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := vt.ServeContext(ctx, t, newDevice(t, nil).f, nil)
	if err := c.Result(); !errors.Is(err, context.Canceled) {
		t.Errorf("Serve = %v, want context.Canceled", err)
	}
}

// TestOneClientAtATime, and the next one finds the function as it was left.
func TestOneClientAtATime(t *testing.T) {
	checkLeaks(t)
	d := newDevice(t, nil)
	first := vt.Attach(t, d.f, nil)
	first.WriteBAR(0, regScratch, 4, 0xcafe)
	first.Sync()
	second := vt.Serve(t, d.f, nil)
	if err := second.Result(); !errors.Is(err, pci.ErrAttached) {
		t.Errorf("second Serve = %v, want ErrAttached", err)
	}
	first.Close()
	if err := first.Result(); err != nil {
		t.Errorf("first Serve = %v", err)
	}
	third := vt.Serve(t, d.f, nil)
	third.Negotiate()
	if got := third.Config(4, 2); got != uint32(pci.CommandMemory|pci.CommandIO|pci.CommandBusMaster) {
		t.Errorf("COMMAND is %#x for the next client", got)
	}
	if got := third.ReadBAR(0, regScratch, 4); got != 0xcafe {
		t.Errorf("register is %#x for the next client", got)
	}
}

// TestTwoFunctions know nothing of each other.
func TestTwoFunctions(t *testing.T) {
	a, b := newDevice(t, nil), newDevice(t, nil)
	ca, cb := vt.Attach(t, a.f, nil), vt.Attach(t, b.f, nil)
	ca.MapAll(vt.NewRAM(t, ramSize), 0)
	ca.WriteBAR(0, regScratch, 4, 1)
	ca.Sync()
	if got := cb.ReadBAR(0, regScratch, 4); got != 0 || mapped(b, 0) || !mapped(a, 0) {
		t.Error("one function's state shows in another")
	}
}

// TestNothingAllocates, but for what carries descriptors.
func TestNothingAllocates(t *testing.T) {
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	event := c.EnableMSIX(1)[0]
	p, page := []byte{0, 0, 0, 0}, make([]byte, 4096)
	for name, f := range map[string]func(){
		"read":         func() { c.Read(0, regScratch, p) },
		"config read":  func() { c.Read(vt.ConfigSpace, 0, page) },
		"write":        func() { c.Write(0, regScratch, p) },
		"posted write": func() { c.Post(0, regScratch, p) },
		"interrupt":    func() { c.Post(0, regRaise, p); event.Wait() },
	} {
		f() // buffers grow
		if n := testing.AllocsPerRun(500, f); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

// TestInterruptsFromAnywhere while the connection comes and goes.
func TestInterruptsFromAnywhere(t *testing.T) {
	checkLeaks(t)
	d := newDevice(t, nil)
	stop := make(chan struct{})
	var raisers sync.WaitGroup
	for v := range 4 {
		raisers.Go(func() {
			p := make([]byte, 64)
			for {
				select {
				case <-stop:
					return
				default:
					d.f.Interrupt(v)
					d.f.SetINTx(v%2 == 0)
					_ = d.f.DMA().Write(uint64(v)*0x1000, p)
					runtime.Gosched()
				}
			}
		})
	}
	for range 4 {
		c := vt.Attach(t, d.f, nil)
		ram := vt.NewRAM(t, ramSize)
		e := c.EnableMSIX(4)
		for range 3 {
			c.MapAll(ram, 0)
			for _, e := range e {
				e.Wait()
			}
			irqs(t, c, assign, vt.MSIX, 0, 4, e...)
			c.Unmap(0, ramSize)
		}
		c.DisableMSIX()
		c.Close()
		if err := c.Result(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	raisers.Wait()
}
