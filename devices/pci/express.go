package pci

import "slices"

// An express is the PCI Express capability, version 2, of an endpoint (section
// 7.5.3). Its offset is 0 if the function has none.
type express struct{ at int }

// Registers of the capability, by offset in it.
const (
	expressSize = 0x3c

	expressFlags  = 0x02
	expressDevCap = 0x04
	expressDevCtl = 0x08
	expressDevSta = 0x0a
	expressLnkCap = 0x0c
	expressLnkCtl = 0x10
	expressLnkSta = 0x12
	expressDevCa2 = 0x24
	expressDevCt2 = 0x28
	expressLnkCa2 = 0x2c
	expressLnkCt2 = 0x30
)

const (
	expressVersion = 2 // type 0, endpoint, in the four bits above

	devCapPayload256 = 1
	devCapExtTag     = 1 << 5
	devCapRoleErrors = 1 << 15 // required since 1.1
	devCapFLR        = 1 << 28

	// Error reporting, relaxed ordering, payload size, extended tags, no snoop,
	// read request size.
	devCtlWritable = 0x0f | 1<<4 | devCtlPayload | 1<<8 | 1<<11 | 7<<12
	devCtlReset    = 1<<4 | 1<<11 | 2<<12 // as 7.5.3.4 demands; reads of 512 bytes
	devCtlPayload  = 7 << 5
	devCtlFLR      = 1 << 15

	devStaClearable = 0x0f // the four detected errors

	// ASPM, read completion boundary, common clock, extended synch.
	lnkCtlWritable = 3 | 1<<3 | 1<<6 | 1<<7
	lnkCapASPMRule = 1 << 22 // set by every function; this one supports no ASPM

	devCa2Timeout = 1 << 4 // completion timeout can be disabled
	lnkCt2Speed   = 0x0f
)

func (e *express) block(l Link) (block, error) {
	if l.Speed == 0 {
		l.Speed = 3
	}
	if l.Width == 0 {
		l.Width = 4
	}
	if l.Speed < 1 || l.Speed > 6 {
		return block{}, invalid("Link.Speed", "%d, want 1 to 6", l.Speed)
	}
	if !slices.Contains([]int{1, 2, 4, 8, 16}, l.Width) {
		return block{}, invalid("Link.Width", "%d, want 1, 2, 4, 8 or 16", l.Width)
	}
	return block{field: "Express", size: expressSize, id: CapExpress, fill: func(s *space, at int) {
		e.at = at
		speed, link := uint16(l.Speed), uint16(l.Speed|l.Width<<4)
		s.set16(at+expressFlags, expressVersion)
		s.set32(at+expressDevCap, devCapPayload256|devCapExtTag|devCapRoleErrors|devCapFLR)
		s.set16(at+expressDevCtl, devCtlReset)
		s.writable16(at+expressDevCtl, devCtlWritable)
		s.clearable16(at+expressDevSta, devStaClearable)
		s.set32(at+expressLnkCap, uint32(link)|lnkCapASPMRule)
		s.writable16(at+expressLnkCtl, lnkCtlWritable)
		s.set16(at+expressLnkSta, link)
		s.set32(at+expressDevCa2, devCa2Timeout)
		s.writable16(at+expressDevCt2, devCa2Timeout)
		s.set32(at+expressLnkCa2, (1<<speed-1)<<1)
		s.set16(at+expressLnkCt2, speed)
		s.writable16(at+expressLnkCt2, lnkCt2Speed)
	}}, nil
}

// demandsFLR reports whether a write of p at off initiates a function level
// reset. The bit always reads as 0 and is therefore not stored (section 7.5.3.4).
func (e *express) demandsFLR(off int, p []byte) bool {
	i := e.at + expressDevCtl + 1 - off
	return e.at != 0 && i >= 0 && i < len(p) && p[i]&(devCtlFLR>>8) != 0
}

// survivors are the registers that a function level reset leaves alone, as far as
// they exist here (section 6.6.2): Max_Payload_Size and the Link Control fields.
func (e *express) survivors(s *space) (devCtl, lnkCtl uint16) {
	if e.at == 0 {
		return 0, 0
	}
	return s.get16(e.at+expressDevCtl) & devCtlPayload, s.get16(e.at + expressLnkCtl)
}

// restore writes back what survivors returned.
func (e *express) restore(s *space, devCtl, lnkCtl uint16) {
	if e.at == 0 {
		return
	}
	s.set16(e.at+expressDevCtl, s.get16(e.at+expressDevCtl)&^devCtlPayload|devCtl)
	s.set16(e.at+expressLnkCtl, lnkCtl)
}
