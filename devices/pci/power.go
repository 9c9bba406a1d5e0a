package pci

// A power is the power management capability, section 7.5.2. Its offset is 0 if
// the function has none; the function is then always in D0.
type power struct{ at int }

const (
	powerSize    = 8
	powerVersion = 3 // of PMC: PCI Power Management Specification 1.2
	powerControl = 4 // offset of PMCSR

	// Power states. D1 and D2 are optional and not offered.
	stateMask = 3
	stateD0   = 0
	stateD3   = 3 // D3hot
)

func (w *power) block() block {
	return block{field: "PowerManagement", size: powerSize, id: CapPowerManagement, fill: func(s *space, at int) {
		w.at = at
		s.set16(at+2, powerVersion)
		s.writable16(at+powerControl, stateMask)
	}}
}

// awake reports whether the function is in D0.
func (w *power) awake(s *space) bool {
	return w.at == 0 || s.get16(w.at+powerControl)&stateMask == stateD0
}

// settle completes a write to the configuration space and reports whether it
// brought the function from D3hot to D0. A state that is not supported is written
// without effect: the previous one stays (section 7.5.2.2).
func (w *power) settle(s *space, old uint16) (woken bool) {
	if w.at == 0 {
		return false
	}
	now := s.get16(w.at + powerControl)
	if state := now & stateMask; state != stateD0 && state != stateD3 {
		now = now&^stateMask | old&stateMask
		s.set16(w.at+powerControl, now)
	}
	return old&stateMask == stateD3 && now&stateMask == stateD0
}

// control is PMCSR.
func (w *power) control(s *space) uint16 {
	if w.at == 0 {
		return 0
	}
	return s.get16(w.at + powerControl)
}
