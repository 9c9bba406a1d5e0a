package vfiouser

import "fmt"

// checkArgsz checks the first field of a request: how many bytes of payload the
// client takes. All replies here have a fixed size, so that they either fit or the
// request is none.
func checkArgsz(m *message, want uint32) error {
	if argsz := m.u32(0); argsz < want {
		return fmt.Errorf("%w: argsz %d, want %d", ErrSize, argsz, want)
	}
	return nil
}

// Flags of DEVICE_GET_INFO.
const (
	infoReset = 1 << 0
	infoPCI   = 1 << 1
)

func (s *session) getInfo(m *message) error {
	if err := checkArgsz(m, sizeInfo); err != nil {
		return err
	}
	s.out = append32(s.out, sizeInfo, infoReset|infoPCI, numRegions, numIRQs)
	return nil
}

// Flags of DEVICE_GET_REGION_INFO.
const (
	regionReadable = 1 << 0
	regionWritable = 1 << 1
	regionMappable = 1 << 2
)

// getRegionInfo describes a region; one that is not there has size 0. There are no
// capabilities: a BAR is mapped as a whole or not at all. (A truncated reply, with a
// larger argsz than asked for, would have to leave the capability flag clear.)
func (s *session) getRegionInfo(m *message) error {
	if err := checkArgsz(m, sizeRegionInfo); err != nil {
		return err
	}
	index := m.u32(8)
	if index >= numRegions {
		return fmt.Errorf("%w: region %d", ErrRange, index)
	}
	var flags uint32
	var size uint64
	switch {
	case index < numBARs:
		bar := s.f.BAR(int(index))
		if size = bar.Size; size > 0 {
			flags = regionReadable | regionWritable
		}
		if bar.File != nil && size > 0 {
			flags |= regionMappable
			s.outFD = int(bar.File.Fd())
		}
	case index == regionConfig:
		size, flags = uint64(s.f.ConfigSize()), regionReadable|regionWritable
	}
	s.out = append32(s.out, sizeRegionInfo, flags, index, 0)
	s.out = append64(s.out, size, 0) // the file, if any, is mapped from its beginning
	return nil
}

// getRegionFDs: no region has ioeventfds or ioregionfds. QEMU never asks.
func (s *session) getRegionFDs(m *message) error {
	if err := checkArgsz(m, sizeRegionFDs); err != nil {
		return err
	}
	if flags := m.u32(4); flags != 0 {
		return fmt.Errorf("%w: flags %#x", ErrValue, flags)
	}
	index := m.u32(8)
	if index >= numRegions {
		return fmt.Errorf("%w: region %d", ErrRange, index)
	}
	s.out = append32(s.out, sizeRegionFDs, 0, index, 0)
	return nil
}

// Flags of DEVICE_GET_IRQ_INFO.
const (
	irqEventFD    = 1 << 0
	irqMaskable   = 1 << 1
	irqAutomasked = 1 << 2
)

// irqFlags by index. MSI and MSI-X are resizable (NORESIZE is clear): else QEMU takes
// all vectors away to add one, and what is raised meanwhile is lost.
var irqFlags = [numIRQs]uint32{
	irqINTx: irqEventFD | irqMaskable | irqAutomasked,
	irqMSI:  irqEventFD,
	irqMSIX: irqEventFD,
	irqErr:  irqEventFD,
	irqReq:  irqEventFD,
}

func (s *session) getIRQInfo(m *message) error {
	if err := checkArgsz(m, sizeIRQInfo); err != nil {
		return err
	}
	index := m.u32(8)
	if index >= numIRQs {
		return fmt.Errorf("%w: interrupt index %d", ErrRange, index)
	}
	var flags uint32
	count := s.irqs.count(index)
	if count > 0 {
		flags = irqFlags[index]
	}
	s.out = append32(s.out, sizeIRQInfo, flags, index, count)
	return nil
}
