package pci_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/pci/pcitest"
)

// Registers of the function that everything describes.
const (
	msiControl  = 0x86
	msiMask     = 0x94
	msiPending  = 0x98
	msixControl = 0x9e
	msixBAR     = 4
	msixPBA     = 0x800
)

func start(t testing.TB, cfg pci.Config) (*pci.Function, *pcitest.Bus) {
	t.Helper()
	f := newFunction(t, cfg)
	b := pcitest.New(t, f)
	b.Enable()
	return f, b
}

// delivered checks what arrived since the last call.
func delivered(t *testing.T, b *pcitest.Bus, kind pci.InterruptKind, vectors ...int) {
	t.Helper()
	var want []pcitest.Vector
	for _, v := range vectors {
		want = append(want, pcitest.Vector{Kind: kind, Number: v})
	}
	if diff := cmp.Diff(want, b.Delivered()); diff != "" {
		t.Errorf("delivered (-want +got):\n%s", diff)
	}
}

func raise(t *testing.T, f *pci.Function, vector int, want bool) {
	t.Helper()
	if got := f.Interrupt(vector); got != want {
		t.Errorf("Interrupt(%d) = %v, want %v", vector, got, want)
	}
}

func TestInterruptCounts(t *testing.T) {
	f := newFunction(t, everything())
	got := []int{f.Interrupts(pci.INTx), f.Interrupts(pci.MSI), f.Interrupts(pci.MSIX), f.Interrupts(7)}
	if diff := cmp.Diff([]int{1, 8, 70, 0}, got); diff != "" {
		t.Error(diff)
	}
	none := newFunction(t, pci.Config{})
	if n := none.Interrupts(pci.INTx) + none.Interrupts(pci.MSI) + none.Interrupts(pci.MSIX); n != 0 {
		t.Errorf("a function without interrupts has %d", n)
	}
	if none.Interrupt(0) {
		t.Error("and one went out")
	}
}

func TestMSIX(t *testing.T) {
	f, b := start(t, everything())
	b.EnableMSIX()
	raise(t, f, 0, true)
	raise(t, f, 69, true)
	raise(t, f, 70, false)
	raise(t, f, -1, false)
	raise(t, f, 1<<40, false)
	delivered(t, b, pci.MSIX, 0, 69)
	for w, at := range []uint64{msixPBA, msixPBA + 8} {
		if v := b.Read64(msixBAR, at); v != 0 {
			t.Errorf("pending word %d is %#x", w, v)
		}
	}
}

// TestMSIXPending holds messages back in every way there is, reads the pending
// bits and lets the messages go.
func TestMSIXPending(t *testing.T) {
	tests := []struct {
		name       string
		hold, free func(*pci.Function, *pcitest.Bus)
	}{
		{"function mask",
			func(_ *pci.Function, b *pcitest.Bus) { b.SetConfig(msixControl, 2, 0xc000) },
			func(_ *pci.Function, b *pcitest.Bus) { b.SetConfig(msixControl, 2, 0x8000) }},
		{"mask bits of the table",
			func(_ *pci.Function, b *pcitest.Bus) { b.Write32(msixBAR, 3*16+12, 1); b.Write32(msixBAR, 66*16+12, 1) },
			func(_ *pci.Function, b *pcitest.Bus) { b.Write32(msixBAR, 3*16+12, 0); b.Write32(msixBAR, 66*16+12, 0) }},
		{"mask bits, 8 bytes at once",
			func(_ *pci.Function, b *pcitest.Bus) {
				b.Write64(msixBAR, 3*16+8, 1<<32)
				b.Write64(msixBAR, 66*16+8, 1<<32)
			},
			func(_ *pci.Function, b *pcitest.Bus) { b.Write64(msixBAR, 3*16+8, 7); b.Write64(msixBAR, 66*16+8, 7) }},
		{"no taker",
			func(_ *pci.Function, b *pcitest.Bus) { b.Mask(pci.MSIX, 3, true); b.Mask(pci.MSIX, 66, true) },
			func(_ *pci.Function, b *pcitest.Bus) { b.Mask(pci.MSIX, 3, false); b.Mask(pci.MSIX, 66, false) }},
		{"no bus master",
			func(_ *pci.Function, b *pcitest.Bus) { b.SetConfig(pcitest.Command, 2, 2) },
			func(_ *pci.Function, b *pcitest.Bus) { b.SetConfig(pcitest.Command, 2, 6) }},
		{"no transport",
			func(f *pci.Function, _ *pcitest.Bus) { f.Detach() },
			func(f *pci.Function, b *pcitest.Bus) {
				if err := f.Attach(b); err != nil {
					panic(err)
				}
			}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, b := start(t, everything())
			b.EnableMSIX()
			test.hold(f, b)
			for _, v := range []int{66, 3, 3} {
				raise(t, f, v, false)
			}
			delivered(t, b, pci.MSIX)
			if v := b.Read64(msixBAR, msixPBA); v != 1<<3 {
				t.Errorf("first pending word is %#x", v)
			}
			if v := b.Read32(msixBAR, msixPBA+8); v != 1<<2 {
				t.Errorf("second pending word is %#x", v)
			}
			if v := b.ReadBAR(msixBAR, msixPBA+8, 1); v != 1<<2 {
				t.Errorf("a byte of it is %#x", v)
			}
			b.Write64(msixBAR, msixPBA, 0) // read-only
			test.free(f, b)
			delivered(t, b, pci.MSIX, 3, 66)
			if v := b.Read64(msixBAR, msixPBA) | b.Read64(msixBAR, msixPBA+8); v != 0 {
				t.Errorf("pending bits are %#x after the messages went out", v)
			}
			raise(t, f, 3, true)
		})
	}
}

func TestMSIXDisabledForgets(t *testing.T) {
	f, b := start(t, everything())
	b.SetConfig(msixControl, 2, 0xc000)
	raise(t, f, 3, false)
	b.SetConfig(msixControl, 2, 0x4000)
	if v := b.Read64(msixBAR, msixPBA); v != 0 {
		t.Errorf("pending bits %#x survive the disabling of MSI-X", v)
	}
	b.SetConfig(msixControl, 2, 0x8000)
	delivered(t, b, pci.MSIX)
}

func TestMSIXTable(t *testing.T) {
	f, b := start(t, everything())
	if v := b.Read64(msixBAR, 8); v != 1<<32 {
		t.Errorf("second half of an entry is %#x after reset, want masked", v)
	}
	b.Write64(msixBAR, 0x10, 0xfee00000)
	b.WriteBAR(msixBAR, 0x1a, 2, 0xabcd)
	b.Write32(msixBAR, 0x1c, 0xfffffffe)
	if v := b.Read64(msixBAR, 0x10); v != 0xfee00000 {
		t.Errorf("address is %#x", v)
	}
	if v := b.Read64(msixBAR, 0x18); v != 0xabcd0000 {
		t.Errorf("data and control are %#x, want reserved bits of control to stay 0", v)
	}
	// An address says nothing of the mask bit, which nobody wrote yet.
	b.Write64(msixBAR, 0x20, 0xfee00000)
	b.EnableMSIX()
	raise(t, f, 2, true)
	b.SetConfig(msixControl, 2, 0xc000)
	raise(t, f, 12, false)
	if v := b.ReadBAR(msixBAR, msixPBA+1, 1); v != 0x10 {
		t.Errorf("second byte of the pending bits is %#x", v)
	}
}

// A refusing Bus counts what it is asked for, and takes nothing.
type refusing map[int]int

func (refusing) Memory() pci.Memory { return &pcitest.Memory{} }

func (r refusing) Interrupt(_ pci.InterruptKind, vector int) bool {
	r[vector]++
	return false
}

// TestUnmaskedRange checks that a transport is not asked for more than it offers:
// one that a hostile client makes offer vectors one by one would pay for all.
func TestUnmaskedRange(t *testing.T) {
	for _, kind := range []pci.InterruptKind{pci.MSIX, pci.MSI} {
		f := newFunction(t, everything())
		b := pcitest.New(t, f)
		b.Enable()
		if b.EnableMSI(3); kind == pci.MSIX {
			b.EnableMSIX()
		}
		f.Detach()
		for v := range 8 {
			f.Interrupt(v)
		}
		r := refusing{}
		if err := f.Attach(r); err != nil {
			t.Fatal(err)
		}
		clear(r)
		f.Unmasked(kind, 3, 2)
		f.Unmasked(kind, -5, 3)
		f.Unmasked(kind, 1<<62, 1<<62)
		f.Unmasked(9, 0, 8)
		if diff := cmp.Diff(refusing{3: 1, 4: 1}, r); diff != "" {
			t.Errorf("kind %d: asked for (-want +got):\n%s", kind, diff)
		}
	}
}

func TestMSI(t *testing.T) {
	tests := []struct {
		log  int // of the vectors granted; 6 and 7 are reserved
		want []int
	}{
		{0, []int{0, 0, 0, 0}},
		{1, []int{0, 1, 0, 1}},
		{2, []int{0, 1, 2, 3}},
		{3, []int{0, 1, 6, 7}},
		{5, []int{0, 1, 6, 7}}, // more than there are
		{7, []int{0, 1, 6, 7}},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("granted %d", 1<<test.log), func(t *testing.T) {
			f, b := start(t, everything())
			raise(t, f, 0, true) // INTx as yet
			f.SetINTx(false)
			delivered(t, b, pci.INTx, 0)
			b.EnableMSI(test.log)
			for _, v := range []int{0, 1, 6, 7} {
				raise(t, f, v, true)
			}
			delivered(t, b, pci.MSI, test.want...)
			raise(t, f, 16+6, true) // more than the function has: modulo what it may use
			delivered(t, b, pci.MSI, test.want[2])
			b.EnableMSIX()
			raise(t, f, 1, true)
			delivered(t, b, pci.MSIX, 1)
		})
	}
}

func TestMSIPending(t *testing.T) {
	f, b := start(t, everything())
	b.EnableMSI(3)
	b.SetConfig(msiMask, 4, 0x44)
	raise(t, f, 2, false)
	raise(t, f, 3, true)
	raise(t, f, 6, false)
	b.Mask(pci.MSI, 1, true)
	raise(t, f, 1, false)
	delivered(t, b, pci.MSI, 3)
	if v := b.Config(msiPending, 4); v != 0x46 {
		t.Errorf("pending bits are %#x", v)
	}
	b.SetConfig(msiPending, 4, 0)
	b.SetConfig(msiMask, 4, 0x04)
	b.Mask(pci.MSI, 1, false)
	delivered(t, b, pci.MSI, 6, 1)
	if v := b.Config(msiPending, 4); v != 0x04 {
		t.Errorf("pending bits are %#x", v)
	}
	b.SetConfig(pcitest.Command, 2, 2)
	raise(t, f, 5, false)
	b.SetConfig(pcitest.Command, 2, 6)
	delivered(t, b, pci.MSI, 5)
	b.SetConfig(msiControl, 2, 0x30)
	if v := b.Config(msiPending, 4); v != 0 {
		t.Errorf("pending bits %#x survive the disabling of MSI", v)
	}
}

// TestMSIBeforeTaker is a message between the driver's enabling MSI and the
// transport's learning where to send it; there are no mask bits.
func TestMSIBeforeTaker(t *testing.T) {
	f, b := start(t, pci.Config{MSI: pci.MSIConfig{Vectors: 2}, BARs: [6]pci.BAR{{Size: 4096}}})
	b.EnableMSI(1)
	b.Mask(pci.MSI, 1, true)
	raise(t, f, 1, false)
	raise(t, f, 0, true)
	b.Mask(pci.MSI, 1, false)
	delivered(t, b, pci.MSI, 0, 1)
}

func TestINTx(t *testing.T) {
	f, b := start(t, everything())
	status := func(want uint32) {
		t.Helper()
		if got := b.Config(pcitest.Status, 2) & 8; got != want {
			t.Errorf("Interrupt Status %#x, want %#x", got, want)
		}
	}
	f.UnmaskINTx() // nothing is asserted
	f.SetINTx(true)
	f.SetINTx(true)
	raise(t, f, 9, true) // any number asserts the one line there is
	delivered(t, b, pci.INTx, 0)
	status(8)
	f.UnmaskINTx() // the guest handled it, but the device still asserts
	delivered(t, b, pci.INTx, 0)
	f.SetINTx(false)
	f.UnmaskINTx()
	delivered(t, b, pci.INTx)
	status(0)

	b.SetConfig(pcitest.Command, 2, 0x406)
	raise(t, f, 0, false)
	status(8)
	f.UnmaskINTx()
	delivered(t, b, pci.INTx)
	b.SetConfig(pcitest.Command, 2, 0x006)
	delivered(t, b, pci.INTx, 0)
	f.SetINTx(false)

	b.Mask(pci.INTx, 0, true)
	raise(t, f, 0, false)
	b.Mask(pci.INTx, 0, false)
	delivered(t, b, pci.INTx, 0)

	b.EnableMSIX() // takes the line away, and disabling brings it back
	f.UnmaskINTx()
	delivered(t, b, pci.INTx)
	b.SetConfig(msixControl, 2, 0)
	delivered(t, b, pci.INTx, 0)

	b.EnableMSI(0)
	f.UnmaskINTx()
	delivered(t, b, pci.INTx)
	b.SetConfig(msiControl, 2, 0)
	delivered(t, b, pci.INTx, 0)

	f.Detach()
	if err := f.Attach(b); err != nil { // another transport has to hear of the level
		t.Fatal(err)
	}
	delivered(t, b, pci.INTx, 0)
	f.Detach()
	f.SetINTx(false)
	f.SetINTx(true)
	if err := f.Attach(b); err != nil {
		t.Fatal(err)
	}
	delivered(t, b, pci.INTx, 0)
}

// TestNoINTx checks that a function without the pin never asserts it.
func TestNoINTx(t *testing.T) {
	f, b := start(t, pci.Config{})
	f.SetINTx(true)
	raise(t, f, 0, false)
	f.UnmaskINTx()
	delivered(t, b, pci.INTx)
	if v := b.Config(0x3d, 1); v != 0 {
		t.Errorf("interrupt pin is %d", v)
	}
	if v := b.Config(pcitest.Status, 2); v != 0 {
		t.Errorf("STATUS is %#x", v)
	}
}
