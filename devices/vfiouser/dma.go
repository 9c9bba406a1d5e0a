package vfiouser

import (
	"errors"
	"fmt"

	"github.com/nitrolab/nitrolab/devices/guestmem"
)

// Flags of DMA_MAP.
const (
	mapRead  = 1 << 0
	mapWrite = 1 << 1
)

// dmaMap adds to what the function may reach. Memory without a descriptor (ROM,
// registers of another device, or all of RAM if QEMU does not share it) is known, so
// that it is told from nothing, and cannot be reached.
func (s *session) dmaMap(m *message) error {
	if err := checkArgsz(m, sizeDMAMap); err != nil {
		return err
	}
	flags := m.u32(4)
	if flags&^(mapRead|mapWrite) != 0 || flags == 0 {
		return fmt.Errorf("%w: flags %#x", ErrValue, flags)
	}
	mapping := guestmem.Mapping{
		Offset: m.u64(8), IOVA: m.u64(16), Size: m.u64(24), FD: -1,
		Read: flags&mapRead != 0, Write: flags&mapWrite != 0,
		AllowUnsealed: s.cfg.AllowUnsealedMemory,
	}
	if len(m.fds) > 0 {
		mapping.FD = m.fds[0] // closed with the message
	}
	if err := s.memory.Map(mapping); err != nil {
		return fmt.Errorf("map of %#x+%#x: %w", mapping.IOVA, mapping.Size, err)
	}
	return nil
}

// Flags of DMA_UNMAP. The other one, GET_DIRTY_BITMAP, is for migration.
const unmapAll = 1 << 1

// dmaUnmap takes a range away, which need not be one that was mapped: with an IOMMU
// QEMU unmaps whole address spaces in pieces of its own choice. When the reply goes
// out no access to it is running any more.
func (s *session) dmaUnmap(m *message) error {
	if err := checkArgsz(m, sizeDMAUnmap); err != nil {
		return err
	}
	iova, size := m.u64(8), m.u64(16)
	switch flags := m.u32(4); {
	case flags == unmapAll && iova == 0 && size == 0:
		s.memory.UnmapAll()
	case flags == 0 && size > 0:
		if err := s.memory.Unmap(iova, size); errors.Is(err, guestmem.ErrTooMany) {
			// The guest gets more errors than it should, but never less.
			s.log.Warn("vfio-user DMA_UNMAP removed more than it was asked for", "address", iova, "bytes", size, "err", err)
		}
	default:
		return fmt.Errorf("%w: flags %#x, range %#x+%#x", ErrValue, flags, iova, size)
	}
	s.out = append(s.out, m.payload[:sizeDMAUnmap]...)
	return nil
}
