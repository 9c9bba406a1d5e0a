package enclaves_test

import (
	"slices"
	"syscall"

	"github.com/nitrolab/nitrolab/devices/enclaves"
)

// Bounds of the device that the model describes.
const (
	modelSlots   = 3
	modelRegions = 6
	modelCPUs    = 8
	modelThreads = 2
	modelMemory  = 4 * mib
)

var modelRAM = []enclaves.Region{{Addr: 0, Size: 64 * mib}, {Addr: gib, Size: 64 * mib}}

// A model is the rules of the device in the simplest form there is: no order of
// memory, no state but the slots, every check a loop.
type model struct {
	slots    []*modelSlot
	uid      uint64
	events   int               // that enclaves ended
	scrubbed []enclaves.Region // of all slots freed

	// What the hypervisor does next time.
	launchErr, stopErr, scrubErr syscall.Errno
}

type modelSlot struct {
	uid, cid, flags uint64
	state           enclaves.State
	regions         []enclaves.Region
	cpus            []uint32
	enclave         bool // has one that was not stopped
}

func (m *model) slot(uid uint64) *modelSlot {
	for _, s := range m.slots {
		if s.uid == uid {
			return s
		}
	}
	return nil
}

func fail(e syscall.Errno) enclaves.Reply { return enclaves.Reply{RC: -int32(e)} }

// do is the reply to a command.
func (m *model) do(c enclaves.Command, request enclaves.Request) enclaves.Reply {
	switch c {
	case enclaves.SlotAlloc:
		if len(m.slots) == modelSlots {
			return fail(syscall.ENOSPC)
		}
		m.uid++
		m.slots = append(m.slots, &modelSlot{uid: m.uid})
		return enclaves.Reply{SlotUID: m.uid, MemRegions: modelRegions}
	case enclaves.SlotCount:
		return enclaves.Reply{SlotCount: uint64(len(m.slots))}
	case enclaves.EnclaveGetSlot:
		for _, s := range m.slots {
			if s.state == enclaves.StateRunning && s.cid == request.(enclaves.GetSlotRequest).CID {
				return enclaves.Reply{SlotUID: s.uid}
			}
		}
		return fail(syscall.ENOENT)
	}
	var uid uint64
	switch r := request.(type) {
	case enclaves.SlotRequest:
		uid = r.SlotUID
	case enclaves.StartRequest:
		uid = r.SlotUID
	case enclaves.AddMemRequest:
		uid = r.SlotUID
	case enclaves.AddVCPURequest:
		uid = r.SlotUID
	case enclaves.AddBulkVCPUsRequest:
		uid = r.SlotUID
	}
	s := m.slot(uid)
	if c == enclaves.NextSlot {
		return m.next(uid)
	}
	if s == nil {
		return fail(syscall.ENOENT)
	}
	var e syscall.Errno
	switch c {
	case enclaves.SlotInfo:
		info := enclaves.Reply{
			SlotUID: uid, MemRegions: uint64(len(s.regions)), VCPUs: uint64(len(s.cpus)), Flags: s.flags, State: s.state,
		}
		for _, g := range s.regions {
			info.MemSize += g.Size
		}
		return info
	case enclaves.EnclaveStop:
		if s.state == enclaves.StateInit {
			return fail(syscall.EPERM)
		}
		e = m.stop(s)
	case enclaves.SlotFree:
		if s.state == enclaves.StateRunning {
			return fail(syscall.EBUSY)
		}
		e = m.free(s)
	default:
		if s.state == enclaves.StateRunning {
			return fail(syscall.EBUSY)
		}
		if s.state == enclaves.StateStopped {
			return fail(syscall.EPERM)
		}
		switch r := request.(type) {
		case enclaves.AddMemRequest:
			e = m.addMem(s, r.Region)
		case enclaves.AddVCPURequest:
			e = m.addCPU(s, r.VCPU)
		case enclaves.AddBulkVCPUsRequest:
			e = m.addCPUs(s, r.Count)
		case enclaves.StartRequest:
			if e = m.start(s, r); e == 0 {
				return enclaves.Reply{SlotUID: uid, CID: s.cid}
			}
		}
	}
	if e != 0 {
		return fail(e)
	}
	return enclaves.Reply{SlotUID: uid}
}

func (m *model) next(uid uint64) enclaves.Reply {
	for i, s := range m.slots {
		switch {
		case uid == 0:
			return enclaves.Reply{SlotUID: s.uid}
		case s.uid == uid && i+1 < len(m.slots):
			return enclaves.Reply{SlotUID: m.slots[i+1].uid}
		case s.uid == uid:
			return enclaves.Reply{}
		}
	}
	if uid == 0 {
		return enclaves.Reply{}
	}
	return fail(syscall.ENOENT)
}

func (m *model) stop(s *modelSlot) syscall.Errno {
	if s.enclave {
		if e := m.stopErr; e != 0 {
			m.stopErr = 0
			return e
		}
		s.enclave, s.state = false, enclaves.StateStopped
	}
	return 0
}

func (m *model) free(s *modelSlot) syscall.Errno {
	if e := m.stop(s); e != 0 {
		return e
	}
	if e := m.scrubErr; e != 0 && len(s.regions) > 0 {
		m.scrubErr = 0
		return e
	}
	m.scrubbed = append(m.scrubbed, s.regions...)
	m.slots = slices.DeleteFunc(m.slots, func(x *modelSlot) bool { return x == s })
	return 0
}

func (m *model) addMem(s *modelSlot, g enclaves.Region) syscall.Errno {
	if g.Size == 0 || g.Addr%(2*mib) != 0 || g.Size%(2*mib) != 0 {
		return syscall.EINVAL
	}
	if len(s.regions) == modelRegions {
		return syscall.ENOSPC
	}
	// Page by page, as far as there can be RAM.
	for at := g.Addr; at-g.Addr < g.Size; at += 2 * mib {
		if !slices.ContainsFunc(modelRAM, func(r enclaves.Region) bool { return at >= r.Addr && at < r.Addr+r.Size }) {
			return syscall.EINVAL
		}
	}
	for _, o := range m.slots {
		for _, r := range o.regions {
			for at := g.Addr; at-g.Addr < g.Size; at += 2 * mib {
				if at >= r.Addr && at < r.Addr+r.Size {
					return syscall.EEXIST
				}
			}
		}
	}
	s.regions = append(s.regions, g)
	return 0
}

// owner is the slot that has a CPU.
func (m *model) owner(n uint32) *modelSlot {
	for _, s := range m.slots {
		if slices.Contains(s.cpus, n) {
			return s
		}
	}
	return nil
}

func (m *model) addCPU(s *modelSlot, n uint32) syscall.Errno {
	if n < modelThreads || n >= modelCPUs {
		return syscall.EINVAL
	}
	if m.owner(n) != nil {
		return syscall.EEXIST
	}
	s.cpus = append(s.cpus, n)
	return 0
}

func (m *model) addCPUs(s *modelSlot, count uint64) syscall.Errno {
	if count == 0 {
		return syscall.EINVAL
	}
	var free []uint32
	for _, begun := range []bool{true, false} {
		for n := uint32(modelThreads); n < modelCPUs; n++ {
			sibling := m.owner(n ^ 1)
			if m.owner(n) == nil && (begun && sibling == s || !begun && sibling == nil) {
				free = append(free, n)
			}
		}
	}
	if count > uint64(len(free)) {
		return syscall.ENOSPC
	}
	s.cpus = append(s.cpus, free[:count]...)
	return 0
}

func (m *model) start(s *modelSlot, r enclaves.StartRequest) syscall.Errno {
	if r.Flags > 1 || r.CID >= 1 && r.CID <= 3 || r.CID >= 0xffffffff {
		return syscall.EINVAL
	}
	size := uint64(0)
	for _, g := range s.regions {
		size += g.Size
	}
	if size < modelMemory {
		return syscall.ENOMEM
	}
	if len(s.cpus) == 0 {
		return syscall.EINVAL
	}
	for _, n := range s.cpus {
		if m.owner(n^1) != s {
			return syscall.EINVAL
		}
	}
	for _, o := range m.slots {
		if o.state == enclaves.StateRunning && r.CID != 0 && o.cid == r.CID {
			return syscall.EADDRINUSE
		}
	}
	if e := m.launchErr; e != 0 {
		m.launchErr = 0
		return e
	}
	s.cid, s.flags, s.state, s.enclave = r.CID, r.Flags, enclaves.StateRunning, true
	return 0
}
