package pci

import "encoding/binary"

// An msix is the MSI-X capability, section 7.7.2, with its two tables. It belongs
// to Function.mu.
type msix struct {
	at      int // 0: none
	bar     int
	entries window // of the BAR: the vector table
	bits    window // of the BAR: the pending bits
	vectors int

	table []byte

	// masked has a bit for each vector whose mask bit the driver set through
	// this function. QEMU and its like keep the table to themselves: then no
	// write ever comes here, and whether a vector may fire is the Bus's to say.
	masked  []uint64
	pending []uint64
}

// A window is a range of bytes of a BAR.
type window struct{ base, size uint64 }

func (w window) end() uint64 { return w.base + w.size }

func (w window) overlaps(o window) bool {
	return w.size > 0 && o.size > 0 && w.base < o.end() && o.base < w.end()
}

const (
	msixSize    = 12
	msixControl = 2
	msixTable   = 4
	msixPBA     = 8

	msixMaskAll = 1 << 14
	msixEnable  = 1 << 15

	msixMaxVectors = 2048
	msixEntry      = 16
	msixVectorCtl  = 12 // offset in an entry; bit 0 masks
)

func (m *msix) block(cfg *Config) (block, error) {
	c := cfg.MSIX
	if c.Vectors < 1 || c.Vectors > msixMaxVectors {
		return block{}, invalid("MSIX.Vectors", "%d, want 1 to %d", c.Vectors, msixMaxVectors)
	}
	if c.BAR < 0 || c.BAR >= numBARs || cfg.BARs[c.BAR].Size == 0 || cfg.BARs[c.BAR].IO || cfg.BARs[c.BAR].File != nil {
		return block{}, invalid("MSIX.BAR", "%d is not a memory BAR of the function, or is backed by a file", c.BAR)
	}
	words := (c.Vectors + 63) / 64
	entries := window{uint64(c.Table), uint64(c.Vectors) * msixEntry}
	pending := window{uint64(c.PBA), uint64(words) * 8}
	size := cfg.BARs[c.BAR].Size
	if c.Table%8 != 0 || entries.end() > size {
		return block{}, invalid("MSIX.Table", "%#x+%#x, want a multiple of 8 inside a BAR of %#x bytes", entries.base, entries.size, size)
	}
	if c.PBA%8 != 0 || pending.end() > size {
		return block{}, invalid("MSIX.PBA", "%#x+%#x, want a multiple of 8 inside a BAR of %#x bytes", pending.base, pending.size, size)
	}
	if entries.overlaps(pending) {
		return block{}, invalid("MSIX.PBA", "%#x+%#x overlaps the table at %#x+%#x", pending.base, pending.size, entries.base, entries.size)
	}
	m.bar, m.vectors, m.entries, m.bits = c.BAR, c.Vectors, entries, pending
	m.table = make([]byte, entries.size)
	m.masked, m.pending = make([]uint64, words), make([]uint64, words)
	m.clear()
	return block{field: "MSIX", size: msixSize, id: CapMSIX, fill: func(s *space, at int) {
		m.at = at
		s.set16(at+msixControl, uint16(c.Vectors-1))
		s.writable16(at+msixControl, msixMaskAll|msixEnable)
		s.set32(at+msixTable, c.Table|uint32(c.BAR))
		s.set32(at+msixPBA, c.PBA|uint32(c.BAR))
	}}, nil
}

// clear brings both tables to their reset values: zero, with all mask bits set.
func (m *msix) clear() {
	clear(m.table)
	clear(m.masked)
	clear(m.pending)
	for v := range m.vectors {
		m.table[v*msixEntry+msixVectorCtl] = 1
	}
}

func (m *msix) enabled(s *space) bool {
	return m.at != 0 && s.get16(m.at+msixControl)&msixEnable != 0
}

// sendable reports whether the driver lets message vector out, as far as this
// function knows.
func (m *msix) sendable(s *space, vector int) bool {
	return s.get16(m.at+msixControl)&msixMaskAll == 0 && m.masked[vector/64]>>(vector%64)&1 == 0
}

func (m *msix) setPending(vector int, on bool) {
	if on {
		m.pending[vector/64] |= 1 << (vector % 64)
	} else {
		m.pending[vector/64] &^= 1 << (vector % 64)
	}
}

// covers reports whether the naturally aligned bytes at off of a BAR belong to one
// of the two tables. Both begin and end at multiples of 8, so none is cut.
func (m *msix) covers(bar int, off uint64) bool {
	return m.at != 0 && bar == m.bar &&
		(off-m.entries.base < m.entries.size || off-m.bits.base < m.bits.size)
}

// read copies bytes of the two tables to p.
func (m *msix) read(off uint64, p []byte) {
	if i := off - m.entries.base; i < m.entries.size {
		copy(p, m.table[i:])
		return
	}
	i := off - m.bits.base
	var word [8]byte
	binary.LittleEndian.PutUint64(word[:], m.pending[i/8])
	copy(p, word[i%8:])
}

// write stores p in the vector table and returns the vector whose mask bit it
// covered, or -1. Pending bits are read-only. Of the vector control only the mask
// bit is stored; the rest is reserved.
func (m *msix) write(off uint64, p []byte) (vector int) {
	i := off - m.entries.base
	if i >= m.entries.size {
		return -1
	}
	copy(m.table[i:], p)
	v := int(i / msixEntry)
	control := m.table[v*msixEntry+msixVectorCtl : (v+1)*msixEntry]
	masked := control[0] & 1
	binary.LittleEndian.PutUint32(control, uint32(masked))
	if i%msixEntry+uint64(len(p)) <= msixVectorCtl {
		return -1 // address and data only
	}
	m.masked[v/64] = m.masked[v/64]&^(1<<(v%64)) | uint64(masked)<<(v%64)
	return v
}
