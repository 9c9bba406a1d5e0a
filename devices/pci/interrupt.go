package pci

import "math/bits"

// Interrupt raises message number vector: by MSI-X if the driver enabled it, else
// by MSI, where the driver may have granted fewer vectors and the number is taken
// modulo theirs, else it asserts INTx, which stays asserted until SetINTx(false).
//
// It reports whether the interrupt went out. If not, it waits if it can (MSI-X
// and MSI, masked or without a taker: sent once that changes; INTx: asserted once
// it is not disabled any more) or was lost, because no kind is enabled or the
// number is none of the function's.
func (f *Function) Interrupt(vector int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case vector < 0 || f.resetting:
		return false
	case f.msix.enabled(f.space), f.msi.enabled(f.space):
		return f.message(vector)
	case !f.intx:
		return false
	}
	f.level = true
	f.settleINTx()
	return f.line
}

// message sends a message or makes it pending. It is false without MSI and MSI-X,
// as it is during a reset, which disables both.
func (f *Function) message(vector int) bool {
	switch {
	case f.msix.enabled(f.space):
		if vector >= f.msix.vectors {
			return false
		}
		sent := f.sendMSIX(vector)
		f.msix.setPending(vector, !sent)
		return sent
	case f.msi.enabled(f.space):
		vector %= f.msi.granted(f.space)
		sent := f.sendMSI(vector)
		f.msi.setPending(f.space, vector, !sent)
		return sent
	}
	return false
}

// A message is a write to memory, so it needs what DMA needs (section 6.1.4).
func (f *Function) sendMSIX(vector int) bool {
	a := f.bus.Load()
	return a != nil && f.master.Load() && f.msix.sendable(f.space, vector) && a.bus.Interrupt(MSIX, vector)
}

func (f *Function) sendMSI(vector int) bool {
	a := f.bus.Load()
	return a != nil && f.master.Load() && f.msi.sendable(f.space, vector) && a.bus.Interrupt(MSI, vector)
}

// Unmasked tells the function that the Bus can deliver count messages from first
// again, or for the first time: those that are pending are sent now. A transport
// calls it when it got somewhere to deliver to. Vectors that do not exist are
// ignored. For INTx it is UnmaskINTx.
func (f *Function) Unmasked(kind InterruptKind, first, count int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch kind {
	case MSIX:
		f.flushMSIX(first, count)
	case MSI:
		f.flushMSI(first, count)
	case INTx:
		f.line = false
		f.settleINTx()
	}
}

// Interrupts is how many interrupts of that kind the function has: 0 or 1 for
// INTx.
func (f *Function) Interrupts(kind InterruptKind) int {
	switch kind {
	case MSIX:
		return f.msix.vectors
	case MSI:
		return f.msi.vectors
	case INTx:
		if f.intx {
			return 1
		}
	}
	return 0
}

// settleInterrupts brings everything about interrupts in line with the registers.
func (f *Function) settleInterrupts() {
	// What is pending belongs to the driver that enabled messages; another one
	// that enables them later has nothing to do with it.
	if f.msix.at != 0 {
		if f.msix.enabled(f.space) {
			f.flushMSIX(0, f.msix.vectors)
		} else {
			clear(f.msix.pending)
		}
	}
	if f.msi.at != 0 {
		if f.msi.enabled(f.space) {
			f.flushMSI(0, f.msi.vectors)
		} else {
			f.msi.clear(f.space)
		}
	}
	f.settleINTx()
}

// flushMSIX sends what is pending of count vectors from first.
func (f *Function) flushMSIX(first, count int) {
	if !f.msix.enabled(f.space) {
		return
	}
	for w, word := range f.msix.pending {
		for ; word != 0; word &= word - 1 {
			v := w*64 + bits.TrailingZeros64(word)
			if v >= first && v-first < count && f.sendMSIX(v) {
				f.msix.setPending(v, false)
			}
		}
	}
}

// flushMSI sends what is pending of count vectors from first.
func (f *Function) flushMSI(first, count int) {
	if !f.msi.enabled(f.space) {
		return
	}
	for word := f.msi.pending; word != 0; word &= word - 1 {
		v := bits.TrailingZeros32(word)
		if v >= first && v-first < count && f.sendMSI(v) {
			f.msi.setPending(f.space, v, false)
		}
	}
}
