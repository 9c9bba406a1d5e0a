package pci_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/pci/pcitest"
)

// TestWritableBits writes all ones and all zeros to every byte but those of the
// mailbox, and compares which bits followed with what the specification lets a
// driver write.
func TestWritableBits(t *testing.T) {
	f := newFunction(t, everything())
	const (
		flr   = 0x48 + 9 // resets instead of storing
		doe   = 0x154
		power = 0x44
	)
	got := map[int]uint32{}
	for at := range f.ConfigSize() {
		if at == flr || at >= doe && at < doe+0x14 {
			continue
		}
		v := writeByte(t, f, at, 0xff)
		got[at&^3] |= uint32(v&^writeByte(t, f, at, 0)) << (8 * (at & 3))
	}
	for at, mask := range got {
		if mask == 0 {
			delete(got, at)
		}
	}
	want := map[int]uint32{
		0x04: 0x0547,     // COMMAND: IO, memory, bus master, parity, SERR, INTx disable
		0x0c: 0x00ff,     // cache line size
		0x10: 0xffffc000, // BAR 0, 16 KiB
		0x14: 0xffffffc0, // BAR 1, 64 ports
		// 0x18 not: BAR 2 is 8 GiB large, which is all of the lower half
		0x1c:  0xfffffffe,
		0x20:  0xfffff000, // BAR 4, 4 KiB, 64 bits
		0x24:  0xffffffff,
		0x3c:  0x00ff,     // interrupt line
		power: 0x0003,     // power state
		0x50:  0x00ff,     // Device Control but its upper byte
		0x58:  0x00cb,     // Link Control
		0x70:  0x0010,     // Device Control 2: completion timeout disable
		0x78:  0x000f,     // Link Control 2: speed
		0x84:  0x00710000, // MSI: enable, vectors granted
		0x88:  0xfffffffc,
		0x8c:  0xffffffff,
		0x90:  0x0000ffff,
		0x94:  0x000000ff, // mask bits of 8 vectors
		0x9c:  0xc0000000, // MSI-X: enable, function mask
		0xf0:  0x000f0000, // raw
		0x118: 0x000000ff, // DVSEC: third byte of data
		0x120: 0x00010000, // raw extended
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("writable bits by offset (-want +got):\n%s", diff)
	}
}

// writeByte writes a byte and returns what it then reads as.
func writeByte(t *testing.T, f *pci.Function, at int, v byte) byte {
	t.Helper()
	if err := f.WriteConfig(at, []byte{v}); err != nil {
		t.Fatal(err)
	}
	var p [1]byte
	if err := f.ReadConfig(at, p[:]); err != nil {
		t.Fatal(err)
	}
	return p[0]
}

func TestBARSizing(t *testing.T) {
	b := pcitest.New(t, newFunction(t, everything()))
	want := map[int]uint32{0x10: 0xffffc000, 0x14: 0xffffffc1, 0x18: 0x0000000c, 0x1c: 0xfffffffe, 0x20: 0xfffff004, 0x24: 0xffffffff, 0x30: 0}
	for at, mask := range want {
		b.SetConfig(at, 4, 0xffffffff)
		if got := b.Config(at, 4); got != mask {
			t.Errorf("register %#x reads %#x after all ones, want %#x", at, got, mask)
		}
	}
	b.SetConfig(0x10, 4, 0xfebd5678)
	if got := b.Config(0x10, 4); got != 0xfebd4000 {
		t.Errorf("BAR 0 reads %#x, want the address cut to its size", got)
	}
}

func TestConfigRange(t *testing.T) {
	express := newFunction(t, everything())
	small := newFunction(t, pci.Config{})
	tests := []struct {
		name   string
		f      *pci.Function
		off, n int
		ok     bool
	}{
		{"all of it", express, 0, 4096, true},
		{"all of the small one", small, 0, 256, true},
		{"last byte", express, 4095, 1, true},
		{"nothing at the end", express, 4096, 0, true},
		{"one too many", express, 0, 4097, false},
		{"behind the end", express, 4096, 1, false},
		{"across the end", small, 254, 4, false},
		{"extended of the small one", small, 256, 4, false},
		{"negative", express, -1, 1, false},
		{"far away", express, 1 << 40, 4, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, call := range []func(int, []byte) error{test.f.ReadConfig, test.f.WriteConfig} {
				err := call(test.off, make([]byte, test.n))
				if _, is := errors.AsType[*pci.AccessError](err); test.ok != (err == nil) || is == test.ok {
					t.Errorf("%#x+%d: %v", test.off, test.n, err)
				}
			}
		})
	}
}

// TestConfigReads checks that a read of any length and alignment gives the bytes
// that the read of all gives, mailbox included.
func TestConfigReads(t *testing.T) {
	f := newFunction(t, everything())
	b := pcitest.New(t, f)
	doe := b.DOE(b.Extended(pci.ExtDOE))
	doe.Send(pcitest.Object(1, 1, []byte("0123"))...)
	all := readAll(t, f)
	if w := binary.LittleEndian.Uint32(all[0x164:]); w != 0x00010001 {
		t.Errorf("read mailbox in a read of everything is %#x, want the answer's header", w)
	}
	for off := 0x140; off < 0x16c; off++ {
		for n := 0; n < 12; n++ {
			p := make([]byte, n)
			if err := f.ReadConfig(off, p); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(all[off:off+n], p); diff != "" {
				t.Fatalf("%#x+%d (-want +got):\n%s", off, n, diff)
			}
		}
	}
}

func TestOnCommand(t *testing.T) {
	type change struct{ Old, Now pci.Command }
	var got []change
	cfg := everything()
	cfg.OnCommand = func(old, now pci.Command) { got = append(got, change{old, now}) }
	b := pcitest.New(t, newFunction(t, cfg))
	b.SetConfig(pcitest.Command, 2, 6)
	b.SetConfig(pcitest.Command, 2, 6)      // no change
	b.SetConfig(pcitest.Command, 2, 0xf806) // reserved bits
	b.SetConfig(pcitest.Command+1, 1, 4)    // upper byte alone
	b.SetConfig(pcitest.Command, 4, 0)      // together with STATUS
	b.SetConfig(pcitest.Command, 2, 2)
	b.FLR() // is no such change
	want := []change{{0, 6}, {6, 0x406}, {0x406, 0}, {0, 2}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes of COMMAND (-want +got):\n%s", diff)
	}
}

func TestForceBusMaster(t *testing.T) {
	var f *pci.Function
	f = newFunction(t, pci.Config{Express: true, ForceBusMaster: true, Reset: func() {
		if err := f.DMA().Read(0, nil); !errors.Is(err, pci.ErrBusMaster) || f.BusMaster() {
			t.Errorf("DMA while the device is reset: %v", err)
		}
	}})
	b := pcitest.New(t, f)
	check := func(when string) {
		t.Helper()
		if c := b.Config(pcitest.Command, 2); c&4 == 0 || !f.BusMaster() {
			t.Errorf("%s: COMMAND %#x, BusMaster %v", when, c, f.BusMaster())
		}
		if err := f.DMA().Write(0, nil); err != nil {
			t.Errorf("%s: DMA: %v", when, err)
		}
	}
	check("at first")
	b.SetConfig(pcitest.Command, 2, 0)
	check("after writing 0")
	b.FLR()
	check("after FLR")
	f.Reset()
	check("after reset")
}

// TestRegisters checks what a RawExtended's Registers get to see.
func TestRegisters(t *testing.T) {
	type store struct {
		Off         int
		Value, Mask uint32
	}
	var got []store
	r := registers{load: func(off int) uint32 { return 0x01010101 * uint32(off) }, store: func(off int, v, m uint32) { got = append(got, store{off, v, m}) }}
	f := newFunction(t, pci.Config{Express: true, Extended: []pci.ExtendedCapability{
		pci.SerialNumber(1), pci.RawExtended{ID: 0x30, Version: 1, Data: make([]byte, 8), Registers: r},
	}})
	b := pcitest.New(t, f)
	at := b.Extended(0x30)
	if v := b.Config(at, 4); v != 0x00010030 {
		t.Errorf("header is %#x", v)
	}
	if v := b.Config(at+6, 4); v != 0x08080404 {
		t.Errorf("across two registers: %#x", v)
	}
	p := []byte{0xa, 0xb, 0xc, 0xd, 0xe, 0xf, 0x10, 0x11, 0x12}
	if err := f.WriteConfig(at+2, p); err != nil { // header, register 4, most of 8
		t.Fatal(err)
	}
	b.SetConfig(at+5, 1, 0x77)
	want := []store{{4, 0x0f0e0d0c, 0xffffffff}, {8, 0x121110, 0xffffff}, {4, 0x7700, 0xff00}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stores (-want +got):\n%s", diff)
	}
}

type registers struct {
	load  func(int) uint32
	store func(int, uint32, uint32)
}

func (r registers) Load(off int) uint32        { return r.load(off) }
func (r registers) Store(off int, v, m uint32) { r.store(off, v, m) }
