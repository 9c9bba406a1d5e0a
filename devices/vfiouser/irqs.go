package vfiouser

import (
	"fmt"

	"github.com/nitrolab/nitrolab/devices/internal/eventfd"
	"github.com/nitrolab/nitrolab/devices/pci"
)

// Flags of DEVICE_SET_IRQS: one kind of data and one action.
const (
	dataNone    = 1 << 0
	dataBool    = 1 << 1
	dataEventFD = 1 << 2
	dataMask    = dataNone | dataBool | dataEventFD

	actionMask    = 1 << 3
	actionUnmask  = 1 << 4
	actionTrigger = 1 << 5
	actionsMask   = actionMask | actionUnmask | actionTrigger
)

// A setIRQs request, checked: start and count lie within the index.
type irqRequest struct {
	data, action        uint32
	index, start, count uint32
	bools               []byte // count of them with dataBool
	*message                   // its descriptors: none, or count of them with dataEventFD
}

// parseIRQs checks a DEVICE_SET_IRQS; count returns how many interrupts an index has.
func parseIRQs(m *message, count func(index uint32) uint32) (r irqRequest, err error) {
	flags := m.u32(4)
	r = irqRequest{
		data: flags & dataMask, action: flags & actionsMask,
		index: m.u32(8), start: m.u32(12), count: m.u32(16), message: m,
	}
	switch r.data {
	case dataNone, dataBool, dataEventFD:
	default:
		return r, fmt.Errorf("%w: flags %#x", ErrValue, flags)
	}
	switch r.action {
	case actionMask, actionUnmask, actionTrigger:
	default:
		return r, fmt.Errorf("%w: flags %#x", ErrValue, flags)
	}
	if flags != r.data|r.action {
		return r, fmt.Errorf("%w: flags %#x", ErrValue, flags)
	}
	if err := checkArgsz(m, sizeSetIRQs); err != nil {
		return r, err
	}
	if r.index >= numIRQs {
		return r, fmt.Errorf("%w: interrupt index %d", ErrRange, r.index)
	}
	if r.data != dataEventFD && len(m.fds) > 0 || r.data == dataEventFD && len(m.fds) > 0 && len(m.fds) != int(r.count) {
		return r, fmt.Errorf("%w: %d for %d interrupts", ErrDescriptors, len(m.fds), r.count)
	}
	if r.count == 0 && (r.data != dataNone || r.action != actionTrigger || r.start != 0) {
		return r, fmt.Errorf("%w: no interrupts", ErrValue)
	}
	if n := count(r.index); r.count > 0 && (r.start >= n || r.count > n-r.start) {
		return r, fmt.Errorf("%w: interrupts %d+%d of %d, index %d", ErrRange, r.start, r.count, n, r.index)
	}
	if r.data == dataBool {
		if uint64(len(m.payload)) != sizeSetIRQs+uint64(r.count) {
			return r, fmt.Errorf("%w: %d bytes of payload for %d booleans", ErrSize, len(m.payload), r.count)
		}
		r.bools = m.payload[sizeSetIRQs:]
	}
	return r, nil
}

// wants reports whether the request is about the n-th interrupt of its range, which
// its booleans may deny.
func (r *irqRequest) wants(n uint32) bool { return r.data != dataBool || r.bools[n] != 0 }

func (s *session) setIRQs(m *message) error {
	r, err := parseIRQs(m, s.irqs.count)
	if err != nil {
		return err
	}
	switch {
	case r.count == 0:
		s.irqs.disable(r.index)
		return nil
	case r.action == actionTrigger && r.data == dataEventFD:
		return s.irqs.assign(&r)
	case r.action == actionTrigger:
		return s.irqs.trigger(&r)
	case r.index != irqINTx:
		// The guest masks vectors of MSI and MSI-X in tables of the client's.
		return fmt.Errorf("%w: mask of index %d", ErrUnsupported, r.index)
	case r.action == actionUnmask && r.data == dataEventFD:
		return s.irqs.assignResample(&r)
	case r.data == dataEventFD:
		return fmt.Errorf("%w: mask by eventfd", ErrUnsupported)
	case !r.wants(0):
	case r.action == actionMask:
		s.irqs.mask()
	default:
		s.irqs.unmask()
	}
	return nil
}

// assign gives vectors their eventfds, in place of old ones, or takes them away if
// the request has none. On error nothing changed.
func (i *interrupts) assign(r *irqRequest) error {
	signals := i.signals[r.index][r.start : r.start+r.count]
	if len(r.fds) == 0 {
		for v := range signals {
			signals[v].Close()
		}
		return nil
	}
	for _, fd := range r.fds {
		if err := eventfd.Check(fd); err != nil {
			return fmt.Errorf("%w: %w", ErrDescriptors, err)
		}
	}
	for v := range signals {
		if err := signals[v].Set(r.fds.Take()); err != nil {
			return fmt.Errorf("%w: %w", ErrDescriptors, err)
		}
	}
	if r.index <= irqMSIX {
		// What could not be delivered before.
		i.f.Unmasked(pci.InterruptKind(r.index), int(r.start), int(r.count))
	}
	return nil
}

// assignResample sets or takes away the eventfd that unmasks INTx.
func (i *interrupts) assignResample(r *irqRequest) error {
	if len(r.fds) == 0 {
		i.resample.close()
		return nil
	}
	if err := eventfd.Check(r.fds[0]); err != nil {
		return fmt.Errorf("%w: %w", ErrDescriptors, err)
	}
	return i.resample.set(r.fds.Take())
}

// trigger raises interrupts as if the function had: a client may test its own side
// so. A vector without an eventfd has nobody to tell.
func (i *interrupts) trigger(r *irqRequest) error {
	for n := range r.count {
		if !r.wants(n) {
			continue
		}
		if _, err := i.signals[r.index][r.start+n].Raise(); err != nil {
			return err
		}
	}
	return nil
}
