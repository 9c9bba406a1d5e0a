package enclaves

import "fmt"

// command is a write to RegCommand. Locked.
func (d *Device) command(c Command) {
	if d.power != on {
		d.log.Debug("command while not enabled", "command", c)
		return
	}
	f := d.faults.take(c)
	if f.Errno != 0 {
		d.answer(d.life, f, failure(f.Errno))
		return
	}
	if d.running != nil {
		d.refuse(c, f, fmt.Errorf("another command runs: %w", errBusy))
		return
	}
	var err error
	switch c {
	case EnclaveStart:
		err = d.start(f, d.regs.send.start())
	case EnclaveStop:
		err = d.stop(f, d.regs.send.slot())
	case SlotFree:
		err = d.free(f, d.regs.send.slot())
	default:
		var r Reply
		if r, err = d.execute(c); err == nil {
			d.answer(d.life, f, r)
		}
	}
	if err != nil {
		d.refuse(c, f, err)
	}
}

// refuse answers a command that failed with err. Locked.
func (d *Device) refuse(c Command, f ReplyFault, err error) {
	r := failure(err)
	d.log.Debug("command refused", "command", c, "rc", r.RC, "err", err)
	d.answer(d.life, f, r)
}

// execute does a command that waits for nobody. Locked.
func (d *Device) execute(c Command) (Reply, error) {
	t, b := &d.table, &d.regs.send
	switch c {
	case SlotAlloc:
		s, err := t.alloc()
		if err != nil {
			return Reply{}, err
		}
		return Reply{SlotUID: s.uid, MemRegions: uint64(t.maxRegions)}, nil
	case SlotAddMem:
		return named(t.addMem(b.addMem()))
	case SlotAddVCPU:
		return named(t.addVCPU(b.addVCPU()))
	case SlotAddBulkVCPUs:
		return named(t.addBulkVCPUs(b.addBulkVCPUs()))
	case EnclaveGetSlot:
		return named(t.findCID(b.getSlot().CID))
	case NextSlot:
		return named(t.next(b.slot().SlotUID))
	case SlotCount:
		return Reply{SlotCount: uint64(len(t.slots))}, nil
	case SlotInfo:
		s, err := t.find(b.slot().SlotUID)
		if err != nil {
			return Reply{}, err
		}
		return s.info(), nil
	}
	return Reply{}, fmt.Errorf("%v: %w", c, errInvalid)
}

// named is the reply that only names a slot, uid 0 if that is nil.
func named(s *slot, err error) (Reply, error) {
	if err != nil || s == nil {
		return Reply{}, err
	}
	return Reply{SlotUID: s.uid}, nil
}
