package pci

import (
	"fmt"
	"math/bits"
	"os"
)

// A BAR is one base address register and what lies behind it. The zero value is
// an index that is not implemented.
type BAR struct {
	// Size in bytes, a power of two: from 4096 for memory (to 2 GiB unless
	// Is64), from 16 to 256 for I/O ports.
	Size uint64

	Is64         bool // takes two indices
	Prefetchable bool
	IO           bool

	// Handler answers accesses. Nil reads as zero and ignores writes.
	Handler Handler

	// File, instead of Handler, backs the BAR with the first Size bytes of a
	// file, which a transport may let the guest map. The caller keeps owning it.
	File *os.File
}

// A Handler answers accesses to one BAR. They come one at a time. The length of
// p is 1, 2, 4 or 8 bytes, little-endian, and off is a multiple of it and inside
// the BAR; the Function splits anything else.
//
// A handler must not block, and above all not wait for the guest: its virtual CPU
// stands still, and often the whole machine with it. Long work belongs on a
// goroutine and ends with [Function.Interrupt].
type Handler interface {
	ReadBAR(off uint64, p []byte) // p is zero at the call
	WriteBAR(off uint64, p []byte)
}

// A BARInfo is what a transport has to know of a BAR.
type BARInfo struct {
	Size                   uint64 // 0: not implemented, or the upper half of a 64-bit BAR
	Is64, Prefetchable, IO bool
	File                   *os.File // nil unless directly mapped
}

const (
	minMemory = 4096 // a page: smaller ones share pages with strangers
	maxMemory = 1 << 31
	maxWide   = 1 << 62
	minIO     = 16
	maxIO     = 256 // section 7.5.1.2.1

	numBARs = 6
)

// check returns the error for BAR i of the six.
func (b *BAR) check(i int, all *[numBARs]BAR) error {
	field := func(name string) string { return fmt.Sprintf("BARs[%d].%s", i, name) }
	if b.Size == 0 {
		if *b != (BAR{}) {
			return invalid(field("Size"), "0, but the BAR is described")
		}
		return nil
	}
	low, high := uint64(minMemory), uint64(maxMemory)
	switch {
	case b.IO && (b.Is64 || b.Prefetchable):
		return invalid(field("IO"), "I/O ports are neither 64 bits wide nor prefetchable")
	case b.IO:
		low, high = minIO, maxIO
	case b.Is64 && i == numBARs-1:
		return invalid(field("Is64"), "no register follows that could hold the upper half")
	case b.Is64 && all[i+1] != (BAR{}):
		return invalid(field("Is64"), "BAR %d holds the upper half and is described", i+1)
	case b.Is64:
		high = maxWide
	}
	if b.Size < low || b.Size > high || bits.OnesCount64(b.Size) != 1 {
		return invalid(field("Size"), "%#x bytes, want a power of two from %#x to %#x", b.Size, low, high)
	}
	return b.checkFile(field("File"))
}

func (b *BAR) checkFile(field string) error {
	if b.File == nil {
		return nil
	}
	if b.IO || b.Handler != nil {
		return invalid(field, "not with IO or Handler")
	}
	st, err := b.File.Stat()
	if err != nil {
		return &ConfigError{Field: field, Err: err}
	}
	if st.Size() < 0 || uint64(st.Size()) < b.Size {
		return invalid(field, "%#x bytes, want %#x", st.Size(), b.Size)
	}
	return nil
}

// Types of a base address register, section 7.5.1.2.1.
const (
	barIO           = 1 << 0
	barIs64         = 2 << 1
	barPrefetchable = 1 << 3
)

// layOutBARs writes the registers of all BARs: type bits that never change, and above
// them as many writable bits as the size leaves, which is how drivers learn it.
func layOutBARs(s *space, bars *[numBARs]BAR) {
	for i := range bars {
		b := &bars[i]
		if b.Size == 0 {
			continue
		}
		off := regBAR0 + 4*i
		kind := uint32(0)
		switch {
		case b.IO:
			kind = barIO
		case b.Is64:
			kind = barIs64
		}
		if b.Prefetchable {
			kind |= barPrefetchable
		}
		s.set32(off, kind)
		mask := ^(b.Size - 1) // 16 bytes at least: the type bits are not in it
		s.writable32(off, uint32(mask))
		if b.Is64 {
			s.writable32(off+4, uint32(mask>>32))
		}
	}
}
