package pci

import "encoding/binary"

// ReadConfig copies configuration space at off to p, which may be all of it.
// Reserved bytes are zero. Reading has no side effects. The error is an
// [*AccessError]; p is then unchanged.
func (f *Function) ReadConfig(off int, p []byte) error {
	if err := f.checkConfig(off, p); err != nil {
		return err
	}
	f.mu.Lock()
	copy(p, f.space.bytes[off:])
	f.mu.Unlock()
	for i := range f.windows {
		f.windows[i].load(off, p)
	}
	return nil
}

// load overwrites the bytes of p, configuration space from off on, that belong to
// the window.
func (w *registerWindow) load(off int, p []byte) {
	begin, end := max(off, w.begin), min(off+len(p), w.end)
	for at := begin &^ 3; at < end; at += 4 {
		var reg [4]byte
		binary.LittleEndian.PutUint32(reg[:], w.regs.Load(at-w.at))
		from := max(at, begin)
		copy(p[from-off:end-off], reg[from-at:])
	}
}

// WriteConfig is a driver's write of p at off. Bits that cannot be written are
// left alone, without an error. It returns when the effects are complete: after a
// reset, or after DMA that the driver no longer allows has ended. The error is an
// [*AccessError].
func (f *Function) WriteConfig(off int, p []byte) error {
	if err := f.checkConfig(off, p); err != nil {
		return err
	}
	f.mu.Lock()
	oldCommand, oldPower := Command(f.space.get16(regCommand)), f.power.control(f.space)
	f.space.write(off, p)
	woken := f.power.settle(f.space, oldPower)
	if woken || f.express.demandsFLR(off, p) {
		f.mu.Unlock()
		f.resetFunction(!woken)
		return nil
	}
	command := Command(f.space.get16(regCommand))
	closed := f.settleGate()
	f.settleInterrupts()
	f.mu.Unlock()

	if closed {
		f.gate.drain()
	}
	if command != oldCommand && f.onCommand != nil {
		f.onCommand(oldCommand, command)
	}
	for i := range f.windows {
		f.windows[i].store(off, p)
	}
	return nil
}

// store passes the bytes of p, written at off, that belong to the window to its
// registers.
func (w *registerWindow) store(off int, p []byte) {
	begin, end := max(off, w.begin), min(off+len(p), w.end)
	for at := begin &^ 3; at < end; at += 4 {
		from, to := max(at, begin), min(at+4, end)
		value, mask := lanes(from-at, p[from-off:to-off])
		w.regs.Store(at-w.at, value, mask)
	}
}

func (f *Function) checkConfig(off int, p []byte) error {
	if off < 0 || off > f.ConfigSize() || len(p) > f.ConfigSize()-off {
		return &AccessError{Space: "configuration space", Offset: uint64(off), Len: len(p)}
	}
	return nil
}
