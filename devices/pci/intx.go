package pci

// SetINTx sets the level at which the device drives its interrupt pin. It is for
// functions with Config.INTx and has no effect on others.
func (f *Function) SetINTx(asserted bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.intx || f.resetting {
		return
	}
	f.level = asserted
	f.settleINTx()
}

// UnmaskINTx is for transports whose interrupt masks itself when it is delivered,
// as VFIO's does (AUTOMASKED): the guest has handled it, or the transport got
// somewhere to deliver to. If the line is still asserted the Bus hears it again.
func (f *Function) UnmaskINTx() { f.Unmasked(INTx, 0, 1) }

// settleINTx drives the line and Interrupt Status from the level. The status bit
// shows the level even if the line is disabled (section 7.5.1.1.4). A Bus that
// refuses the interrupt says UnmaskINTx when it would take it.
func (f *Function) settleINTx() {
	status := f.space.get16(regStatus) &^ statusInterrupt
	if f.level {
		status |= statusInterrupt
	}
	f.space.set16(regStatus, status)

	a := f.bus.Load()
	drive := f.level && a != nil &&
		Command(f.space.get16(regCommand))&CommandINTxDisable == 0 &&
		!f.msix.enabled(f.space) && !f.msi.enabled(f.space) && f.power.awake(f.space)
	if drive && !f.line {
		drive = a.bus.Interrupt(INTx, 0)
	}
	f.line = drive
}
