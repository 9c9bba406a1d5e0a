package vfiouser

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// regionRead reads registers, or all of configuration space at once as QEMU does.
func (s *session) regionRead(m *message) error {
	off, region, count := m.u64(0), m.u32(8), m.u32(12)
	if count == 0 || count > maxTransfer {
		return fmt.Errorf("%w: read of %d bytes", ErrSize, count)
	}
	const head = headerSize + sizeRegion
	s.out = append(s.out, m.payload[:sizeRegion]...)
	s.out = slices.Grow(s.out, int(count))[:head+count]
	p := s.out[head:]
	switch {
	case region < numBARs:
		return s.f.ReadBAR(int(region), off, p)
	case region == regionConfig && off <= math.MaxInt32:
		return s.f.ReadConfig(int(off), p)
	}
	return fmt.Errorf("%w: region %d at %#x+%#x", ErrRange, region, off, count)
}

func (s *session) regionWrite(m *message) error {
	count := m.u32(12)
	if count == 0 || uint64(len(m.payload)) != sizeRegion+uint64(count) {
		return fmt.Errorf("%w: write of %d bytes in a payload of %d", ErrSize, count, len(m.payload))
	}
	s.out = append(s.out, m.payload[:sizeRegion]...)
	return s.write(m.u32(8), m.u64(0), m.payload[sizeRegion:])
}

// write writes p at off of a region.
func (s *session) write(region uint32, off uint64, p []byte) error {
	switch {
	case region < numBARs:
		return s.f.WriteBAR(int(region), off, p)
	case region == regionConfig && off <= math.MaxInt32:
		return s.f.WriteConfig(int(off), p)
	}
	return fmt.Errorf("%w: region %d at %#x+%#x", ErrRange, region, off, len(p))
}

// writeMulti carries out several writes of up to 8 bytes in their order. One that is
// refused ends it. The reply, which QEMU never wants, says how many there were.
func (s *session) writeMulti(m *message) error {
	n := m.u64(0)
	if n > maxTransfer/sizeMultiWrite || uint64(len(m.payload)) != sizeMulti+n*sizeMultiWrite {
		return fmt.Errorf("%w: %d writes in a payload of %d", ErrSize, n, len(m.payload))
	}
	for i, p := 0, m.payload[sizeMulti:]; len(p) > 0; i, p = i+1, p[sizeMultiWrite:] {
		count := binary.LittleEndian.Uint32(p[12:])
		if count == 0 || count > 8 {
			return fmt.Errorf("%w: write %d has %d bytes", ErrSize, i, count)
		}
		if err := s.write(binary.LittleEndian.Uint32(p[8:]), binary.LittleEndian.Uint64(p), p[16:16+count]); err != nil {
			return err
		}
	}
	s.out = append64(s.out, n)
	return nil
}
