package enclaves

import (
	"fmt"
	"slices"
)

// table is the slots of a device and all that they have: the rules, without
// registers, goroutines or time. Its methods do the whole command or, with an
// error that wraps an errno, nothing.
type table struct {
	maxSlots   int
	maxRegions int
	minMemory  uint64
	newUID     func() uint64
	hasRAM     func(Region) bool

	slots  []*slot // in the order of SLOT_ALLOC
	memory donated
	cpus   cpus
}

// alloc makes a slot.
func (t *table) alloc() (*slot, error) {
	if len(t.slots) >= t.maxSlots {
		return nil, fmt.Errorf("all %d slots in use: %w", t.maxSlots, errFull)
	}
	uid := t.newUID()
	for {
		// The driver takes uid 0 for no slot, and does not free that.
		if _, err := t.find(uid); uid != 0 && err != nil {
			break
		}
		uid++
	}
	s := &slot{uid: uid}
	t.slots = append(t.slots, s)
	return s, nil
}

// remove frees a slot and all it has.
func (t *table) remove(s *slot) {
	t.memory.release(s)
	t.cpus.release(s)
	t.slots = slices.DeleteFunc(t.slots, func(x *slot) bool { return x == s })
}

func (t *table) find(uid uint64) (*slot, error) {
	for _, s := range t.slots {
		if s.uid == uid {
			return s, nil
		}
	}
	return nil, fmt.Errorf("slot %#x: %w", uid, errNoSlot)
}

// findInit is the slot if it still takes memory and CPUs.
func (t *table) findInit(uid uint64) (*slot, error) {
	s, err := t.find(uid)
	if err != nil {
		return nil, err
	}
	switch s.state {
	case StateInit:
		return s, nil
	case StateRunning:
		return nil, fmt.Errorf("slot %#x: enclave runs: %w", uid, errBusy)
	}
	return nil, fmt.Errorf("slot %#x: %v: %w", uid, s.state, errState)
}

// findCID is the slot of the running enclave with that context id. An enclave
// that has ended has none any more.
func (t *table) findCID(cid uint64) (*slot, error) {
	for _, s := range t.slots {
		if s.state == StateRunning && uint64(s.cid) == cid {
			return s, nil
		}
	}
	return nil, fmt.Errorf("no enclave with CID %d: %w", cid, errNoSlot)
}

// next is the slot behind slot uid, in the order of allocation; the first for
// 0, nil at the end.
func (t *table) next(uid uint64) (*slot, error) {
	i := 0
	if uid != 0 {
		i = 1 + slices.IndexFunc(t.slots, func(s *slot) bool { return s.uid == uid })
		if i == 0 {
			return nil, fmt.Errorf("slot %#x: %w", uid, errNoSlot)
		}
	}
	if i == len(t.slots) {
		return nil, nil
	}
	return t.slots[i], nil
}

func (t *table) addMem(r AddMemRequest) (*slot, error) {
	s, err := t.findInit(r.SlotUID)
	if err != nil {
		return nil, err
	}
	g := r.Region
	switch {
	case g.Size == 0 || g.Addr%Granule != 0 || g.Size%Granule != 0:
		err = fmt.Errorf("empty or not aligned to 2 MiB: %w", errInvalid)
	case g.Addr+g.Size-1 < g.Addr:
		err = fmt.Errorf("wraps around: %w", errInvalid)
	case len(s.regions) >= t.maxRegions:
		err = fmt.Errorf("slot has %d regions already: %w", len(s.regions), errFull)
	case !t.hasRAM(g):
		err = fmt.Errorf("not RAM of the parent: %w", errInvalid)
	case t.memory.overlaps(g):
		err = fmt.Errorf("donated already: %w", errTaken)
	}
	if err != nil {
		return nil, fmt.Errorf("memory %#x+%#x: %w", g.Addr, g.Size, err)
	}
	t.memory.add(g, s)
	s.regions = append(s.regions, g)
	s.size += g.Size
	return s, nil
}

func (t *table) addVCPU(r AddVCPURequest) (*slot, error) {
	s, err := t.findInit(r.SlotUID)
	if err != nil {
		return nil, err
	}
	return s, t.cpus.add(r.VCPU, s)
}

func (t *table) addBulkVCPUs(r AddBulkVCPUsRequest) (*slot, error) {
	s, err := t.findInit(r.SlotUID)
	if err != nil {
		return nil, err
	}
	return s, t.cpus.addBulk(r.Count, s)
}

// start is the slot, ready to be launched. It changes nothing.
func (t *table) start(r StartRequest) (*slot, error) {
	s, err := t.findInit(r.SlotUID)
	if err != nil {
		return nil, err
	}
	switch {
	case r.Flags&^FlagDebug != 0:
		err = fmt.Errorf("flags %#x: %w", r.Flags, errInvalid)
	case r.CID != 0 && r.CID <= cidParent, r.CID >= cidAny:
		err = fmt.Errorf("CID %d: not for an enclave: %w", r.CID, errInvalid)
	case s.size < t.minMemory:
		err = fmt.Errorf("%d MiB of memory, least is %d: %w", s.size>>20, t.minMemory>>20, errMemory)
	case len(s.cpus) == 0:
		err = fmt.Errorf("no CPU: %w", errInvalid)
	case !t.cpus.whole(s):
		err = fmt.Errorf("part of a core only: %w", errInvalid)
	}
	if err == nil && r.CID != 0 {
		if other, _ := t.findCID(r.CID); other != nil {
			err = fmt.Errorf("CID %d: in use: %w", r.CID, errCIDTaken)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("slot %#x: %w", s.uid, err)
	}
	return s, nil
}
