package pci

// Reset is a reset of the whole function, as on power-on: VFIO's DEVICE_RESET.
func (f *Function) Reset() { f.resetFunction(false) }

// resetFunction resets registers and device. A function level reset (flr) leaves
// alone what belongs to the link rather than to the function.
//
// The order keeps late effects of the old life out of the new one: no DMA and no
// interrupt begins once registers are reset, the device is reset when what ran
// has ended, and only then may the function act again.
func (f *Function) resetFunction(flr bool) {
	f.mu.Lock()
	devCtl, lnkCtl := f.express.survivors(f.space)
	copy(f.space.bytes, f.space.reset)
	if flr {
		f.express.restore(f.space, devCtl, lnkCtl)
	}
	f.msi.clear(f.space)
	f.msix.clear()
	f.level, f.line = false, false
	f.resetting = true
	f.settleGate()
	f.mu.Unlock()

	f.gate.drain()
	for _, m := range f.mailboxes {
		m.reset()
	}
	if f.reset != nil {
		f.reset()
	}

	f.mu.Lock()
	f.resetting = false
	f.settleGate()
	f.mu.Unlock()
}
