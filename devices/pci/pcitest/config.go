package pcitest

import (
	"encoding/binary"

	"github.com/nitrolab/nitrolab/devices/pci"
)

// Config reads n bytes of configuration space, 1 to 4, little-endian.
func (b *Bus) Config(off, n int) uint32 {
	b.t.Helper()
	var p [4]byte
	if err := b.f.ReadConfig(off, p[:n]); err != nil {
		b.t.Fatalf("pcitest: %v", err)
	}
	return binary.LittleEndian.Uint32(p[:])
}

// SetConfig writes the low n bytes of v, 1 to 4, to configuration space.
func (b *Bus) SetConfig(off, n int, v uint32) {
	b.t.Helper()
	var p [4]byte
	binary.LittleEndian.PutUint32(p[:], v)
	if err := b.f.WriteConfig(off, p[:n]); err != nil {
		b.t.Fatalf("pcitest: %v", err)
	}
}

// Registers of the header that tests write.
const (
	Command = 0x04
	Status  = 0x06
	BAR0    = 0x10
)

// Enable does what a driver's probe does: decoding of memory and I/O, and bus
// mastering.
func (b *Bus) Enable() {
	b.t.Helper()
	on := pci.CommandIO | pci.CommandMemory | pci.CommandBusMaster
	b.SetConfig(Command, 2, b.Config(Command, 2)|uint32(on))
}

// Capability returns the offset of the first capability with that ID, or 0.
func (b *Bus) Capability(id uint8) int {
	b.t.Helper()
	at := int(b.Config(0x34, 1))
	// A list has no more entries than fit; a longer one is a circle.
	for range 48 {
		if at == 0 || b.Config(at, 1) == uint32(id) {
			return at
		}
		at = int(b.Config(at+1, 1))
	}
	b.t.Fatal("pcitest: the capability list does not end")
	return 0
}

// Extended returns the offset of the first extended capability with that ID, or 0.
func (b *Bus) Extended(id uint16) int {
	b.t.Helper()
	if b.f.ConfigSize() <= 0x100 {
		return 0
	}
	at := 0x100
	for range 960 {
		header := b.Config(at, 4)
		if header&0xffff == uint32(id) && header != 0 {
			return at
		}
		if at = int(header >> 20); at == 0 {
			return 0
		}
	}
	b.t.Fatal("pcitest: the list of extended capabilities does not end")
	return 0
}

// must returns the offset of a capability that the function has to have.
func (b *Bus) must(name string, at int) int {
	b.t.Helper()
	if at == 0 {
		b.t.Fatalf("pcitest: the function has no %s", name)
	}
	return at
}

// EnableMSIX switches MSI-X on, as drivers do: masked as a whole first.
func (b *Bus) EnableMSIX() {
	b.t.Helper()
	at := b.must("MSI-X", b.Capability(pci.CapMSIX)) + 2
	b.SetConfig(at, 2, 0xc000)
	b.SetConfig(at, 2, 0x8000)
}

// EnableMSI switches MSI on and grants 1 << log vectors.
func (b *Bus) EnableMSI(log int) {
	b.t.Helper()
	at := b.must("MSI", b.Capability(pci.CapMSI)) + 2
	b.SetConfig(at, 2, uint32(1|log<<4))
}

// FLR initiates a function level reset.
func (b *Bus) FLR() {
	b.t.Helper()
	at := b.must("PCI Express capability", b.Capability(pci.CapExpress)) + 8
	b.SetConfig(at, 2, b.Config(at, 2)|0x8000)
}

// Sleep puts the function into D3hot, or back into D0, which resets it.
func (b *Bus) Sleep(deep bool) {
	b.t.Helper()
	at := b.must("power management", b.Capability(pci.CapPowerManagement)) + 4
	state := b.Config(at, 2) &^ 3
	if deep {
		state |= 3
	}
	b.SetConfig(at, 2, state)
}
