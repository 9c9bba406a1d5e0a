package pci_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/pci/pcitest"
)

// TestReset disturbs everything, resets in each of the ways there are, and
// compares all bytes with those of a new function.
func TestReset(t *testing.T) {
	tests := []struct {
		name  string
		reset func(*pci.Function, *pcitest.Bus)
		// kept are bits that survive, by offset of a byte.
		kept map[int]byte
	}{
		{"device reset", func(f *pci.Function, _ *pcitest.Bus) { f.Reset() }, nil},
		{"function level reset", func(_ *pci.Function, b *pcitest.Bus) { b.FLR() }, map[int]byte{
			0x50: 0xa0, // Max_Payload_Size
			0x58: 0xcb, // Link Control
		}},
		{"function level reset by one byte", func(_ *pci.Function, b *pcitest.Bus) { b.SetConfig(0x51, 1, 0x80) }, map[int]byte{0x50: 0xa0, 0x58: 0xcb}},
		{"function level reset in a long write", func(_ *pci.Function, b *pcitest.Bus) { b.SetConfig(0x4e, 4, 0x80bf0000) }, map[int]byte{0x50: 0xa0, 0x58: 0xcb}},
		{"D3hot to D0", func(_ *pci.Function, b *pcitest.Bus) { b.Sleep(true); b.Sleep(false) }, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var f *pci.Function
			resets := 0
			cfg := everything()
			cfg.Reset = func() {
				resets++
				if err := f.DMA().Read(0, make([]byte, 1)); !errors.Is(err, pci.ErrBusMaster) {
					t.Errorf("DMA while the device is reset: %v", err)
				}
				if f.Interrupt(0) {
					t.Error("an interrupt went out while the device is reset")
				}
				f.SetINTx(true)
			}
			f = newFunction(t, cfg)
			fresh := readAll(t, f)
			b := pcitest.New(t, f)
			b.SetConfig(0x50, 1, 0xbf) // and Device Control
			for at := 0; at < f.ConfigSize(); at++ {
				if at != 0x51 && at != 0x44 && (at < 0x154 || at >= 0x168) {
					b.SetConfig(at, 1, 0xbf)
				}
			}
			b.Enable()
			b.SetConfig(0x84+2, 2, 0x0011) // MSI
			b.SetConfig(0x9c+2, 2, 0)      // no MSI-X
			b.SetConfig(0x94, 4, 0xff)     // all masked
			f.Interrupt(1)
			f.SetINTx(true)
			b.Write32(4, 16+12, 1) // masks vector 1
			doe := b.DOE(0x150)
			doe.SetReg(pcitest.DOEControl, pcitest.DOEInterruptEnable)
			doe.Send(pcitest.Object(1, 1, []byte("abc"))...)
			if diff := cmp.Diff(fresh, readAll(t, f)); diff == "" {
				t.Fatal("nothing was disturbed")
			}
			if err := f.WriteBAR(4, 0, []byte{1, 2, 3, 4}); err != nil {
				t.Fatal(err)
			}

			test.reset(f, b)

			want := fresh
			for at, bits := range test.kept {
				want[at] = want[at]&^bits | 0xbf&bits
			}
			if diff := cmp.Diff(want, readAll(t, f)); diff != "" {
				t.Errorf("after the reset (-want +got):\n%s", diff)
			}
			if resets != 1 {
				t.Errorf("the device was reset %d times, want once", resets)
			}
			b.Enable()
			if v := b.Config(pcitest.Status, 2) & 8; v != 0 {
				t.Error("INTx is still asserted")
			}
			b.EnableMSIX()
			raise(t, f, 1, true)
			if v := b.ReadBAR(4, 0, 4); v != 0 {
				t.Errorf("vector table begins with %#x", v)
			}
			if v := b.Read32(4, 12); v != 1 {
				t.Errorf("vector control is %#x, want masked", v)
			}
			if err := f.DMA().Read(0, nil); err != nil {
				t.Errorf("DMA after the reset, enabled anew: %v", err)
			}
		})
	}
}

// TestPowerStates checks the states that are written and those that are kept.
func TestPowerStates(t *testing.T) {
	resets := 0
	cfg := everything()
	cfg.Reset = func() { resets++ }
	f := newFunction(t, cfg)
	b := pcitest.New(t, f)
	b.Enable()
	b.EnableMSIX()
	for _, step := range []struct {
		write, want uint32
		resets      int
		master      bool
	}{
		{1, 0, 0, true}, // D1 is not supported
		{2, 0, 0, true}, // nor D2
		{0, 0, 0, true}, // D0 to D0 resets nothing
		{3, 3, 0, false},
		{1, 3, 0, false},
		{3, 3, 0, false},
		{0, 0, 1, false}, // the reset took Bus Master Enable away
	} {
		b.SetConfig(0x44, 2, step.write)
		if got := b.Config(0x44, 2); got != step.want || resets != step.resets || f.BusMaster() != step.master {
			t.Errorf("wrote %d: state %d, want %d; %d resets, want %d; BusMaster %v", step.write, got, step.want, resets, step.resets, f.BusMaster())
		}
	}
}

// TestAsleep checks that a function in D3hot neither answers nor speaks.
func TestAsleep(t *testing.T) {
	cfg := everything()
	mem := &ram{mem: make([]byte, 1<<14)}
	cfg.BARs[0].Handler = mem
	f := newFunction(t, cfg)
	b := pcitest.New(t, f)
	b.Mem().Map(0, make([]byte, 64))
	b.Enable()
	b.EnableMSIX()
	if err := f.DMA().Write(0, []byte{1}); err != nil {
		t.Fatal(err)
	}
	b.Sleep(true)
	if err := f.DMA().Write(0, []byte{1}); !errors.Is(err, pci.ErrBusMaster) {
		t.Errorf("DMA: %v", err)
	}
	if f.Interrupt(0) {
		t.Error("an interrupt went out")
	}
	b.SetConfig(0x9e, 2, 0)
	f.SetINTx(true)
	b.Write32(0, 0, 5)
	if v := b.Read32(0, 0); v != 0xffffffff {
		t.Errorf("a register reads %#x, want all ones", v)
	}
	if mem.mem[0] != 0 {
		t.Error("a write arrived")
	}
	if len(b.Delivered()) != 0 {
		t.Error("an interrupt was delivered")
	}
}

// TestResetForgetsMessages checks that a message held back before a reset does not
// come out after it, even if enabling messages is the first thing a driver does.
func TestResetForgetsMessages(t *testing.T) {
	for name, enable := range map[string]func(*pcitest.Bus){
		"MSI":   func(b *pcitest.Bus) { b.SetConfig(msiControl, 2, 0x31) },
		"MSI-X": func(b *pcitest.Bus) { b.SetConfig(msixControl, 2, 0x8000) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFunction(t, everything())
			b := pcitest.New(t, f)
			enable(b)
			raise(t, f, 2, false) // Bus Master Enable is clear
			f.Reset()
			enable(b)
			b.Enable()
			if got := b.Delivered(); got != nil {
				t.Errorf("delivered %v", got)
			}
			raise(t, f, 2, true)
		})
	}
}
