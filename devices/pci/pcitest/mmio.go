package pcitest

import "encoding/binary"

// ReadBAR reads n bytes of a BAR, 1 to 8, little-endian.
func (b *Bus) ReadBAR(bar int, off uint64, n int) uint64 {
	b.t.Helper()
	var p [8]byte
	if err := b.f.ReadBAR(bar, off, p[:n]); err != nil {
		b.t.Fatalf("pcitest: %v", err)
	}
	return binary.LittleEndian.Uint64(p[:])
}

// WriteBAR writes the low n bytes of v, 1 to 8, to a BAR.
func (b *Bus) WriteBAR(bar int, off uint64, n int, v uint64) {
	b.t.Helper()
	var p [8]byte
	binary.LittleEndian.PutUint64(p[:], v)
	if err := b.f.WriteBAR(bar, off, p[:n]); err != nil {
		b.t.Fatalf("pcitest: %v", err)
	}
}

// Read32 reads a 32-bit register.
func (b *Bus) Read32(bar int, off uint64) uint32 {
	b.t.Helper()
	return uint32(b.ReadBAR(bar, off, 4))
}

// Write32 writes a 32-bit register.
func (b *Bus) Write32(bar int, off uint64, v uint32) {
	b.t.Helper()
	b.WriteBAR(bar, off, 4, uint64(v))
}

// Read64 reads a 64-bit register.
func (b *Bus) Read64(bar int, off uint64) uint64 {
	b.t.Helper()
	return b.ReadBAR(bar, off, 8)
}

// Write64 writes a 64-bit register.
func (b *Bus) Write64(bar int, off, v uint64) {
	b.t.Helper()
	b.WriteBAR(bar, off, 8, v)
}
