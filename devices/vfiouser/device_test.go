package vfiouser_test

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/nitrolab/nitrolab/devices/pci"
)

// A device is a function to be carried: scratch registers in BAR 0, a few of which
// do something, MSI-X in BAR 1, a 64-bit BAR 2, ports in BAR 4.
type device struct {
	f *pci.Function
	bank
	ports    bank
	writes   atomic.Uint64 // to BAR 0
	resets   atomic.Uint64
	writeLog []string // of BAR 0, if not nil
}

// Registers of BAR 0.
const (
	regScratch = 0x00
	regRaise   = 0x40 // write: interrupt of that number
	regLevel   = 0x44 // write: level of INTx
	regCount   = 0x48 // read: writes so far
	barSize    = 0x1000
)

// bank is a BAR that stores.
type bank [barSize]byte

func (b *bank) ReadBAR(off uint64, p []byte)  { copy(p, b[off:]) }
func (b *bank) WriteBAR(off uint64, p []byte) { copy(b[off:], p) }

func (d *device) ReadBAR(off uint64, p []byte) {
	if off == regCount {
		binary.LittleEndian.PutUint64(d.bank[regCount:], d.writes.Load())
	}
	d.bank.ReadBAR(off, p)
}

func (d *device) WriteBAR(off uint64, p []byte) {
	d.writes.Add(1)
	if d.writeLog != nil {
		d.writeLog = append(d.writeLog, fmt.Sprintf("%x %x", off, p))
	}
	d.bank.WriteBAR(off, p)
	switch off {
	case regRaise:
		d.f.Interrupt(int(p[0]))
	case regLevel:
		d.f.SetINTx(p[0] != 0)
	}
}

// newDevice returns a device; change, if not nil, may alter its description.
func newDevice(t testing.TB, change func(*pci.Config)) *device {
	t.Helper()
	d := &device{}
	cfg := pci.Config{
		VendorID: 0x1d0f, DeviceID: 0xefa0, SubsystemVendorID: 0x1d0f, SubsystemID: 1, Class: 0xff0000, Revision: 3,
		BARs: [6]pci.BAR{
			0: {Size: barSize, Handler: d},
			1: {Size: barSize},
			2: {Size: 1 << 34, Is64: true, Prefetchable: true},
			4: {Size: 0x100, IO: true, Handler: &d.ports},
		},
		INTx: true, MSIX: pci.MSIXConfig{Vectors: 4, BAR: 1, Table: 0, PBA: 0x800}, MSI: pci.MSIConfig{Vectors: 2},
		Express: true, PowerManagement: true,
		Reset: func() { d.resets.Add(1); d.bank = bank{} },
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if d.f, err = pci.New(cfg); err != nil {
		t.Fatal(err)
	}
	return d
}
