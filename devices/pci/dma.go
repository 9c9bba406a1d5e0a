package pci

import (
	"errors"

	"github.com/nitrolab/nitrolab/devices/guestmem"
)

// DMA is the memory that the function reaches as a bus master. It stays the same
// for the life of the function. Its methods fail with ErrBusMaster while the
// driver does not allow DMA, with ErrDetached while no transport is there, and
// otherwise with the errors of the transport's Memory.
//
// A function called by View must not call WriteConfig, Reset or Detach, which wait
// for it.
func (f *Function) DMA() Memory { return &f.dma }

// BusMaster reports whether the driver lets the function reach memory and send
// messages: Bus Master Enable is set and the function is in D0.
func (f *Function) BusMaster() bool { return f.master.Load() }

// settleGate brings the gate in line with the registers. It reports whether that
// closed it; then DMA that runs has to be waited for, without the lock.
func (f *Function) settleGate() (closed bool) {
	master := Command(f.space.get16(regCommand))&CommandBusMaster != 0 &&
		f.power.awake(f.space) && !f.resetting
	f.master.Store(master)
	return f.gate.set(master && f.bus.Load() != nil)
}

// dma is the transport's memory behind the gate.
type dma struct{ f *Function }

// enter returns the memory; the gate is then entered.
func (d *dma) enter() (Memory, error) {
	if !d.f.gate.enter() {
		if d.f.BusMaster() {
			return nil, ErrDetached
		}
		return nil, ErrBusMaster
	}
	a := d.f.bus.Load()
	if a == nil { // detached between the two; Detach waits for nothing of ours
		d.f.gate.leave()
		return nil, ErrDetached
	}
	return a.memory, nil
}

func (d *dma) Read(iova uint64, p []byte) error {
	m, err := d.enter()
	if err != nil {
		return err
	}
	if err = m.Read(iova, p); err != nil {
		d.f.noteAbort(err) // inside the gate, so that no reset can come in between
	}
	d.f.gate.leave()
	return err
}

func (d *dma) Write(iova uint64, p []byte) error {
	m, err := d.enter()
	if err != nil {
		return err
	}
	// A write is posted: the function never hears that it went nowhere, so
	// STATUS does not change.
	err = m.Write(iova, p)
	d.f.gate.leave()
	return err
}

func (d *dma) View(iova uint64, n int, write bool, use func(segments [][]byte) error) error {
	m, err := d.enter()
	if err != nil {
		return err
	}
	defer d.f.gate.leave()
	return m.View(iova, n, write, use)
}

// noteAbort sets Received Master Abort for a read that nothing answered.
func (f *Function) noteAbort(err error) {
	if _, ok := errors.AsType[*guestmem.AddressError](err); !ok {
		return
	}
	f.mu.Lock()
	f.space.set16(regStatus, f.space.get16(regStatus)|statusMasterAbort)
	f.mu.Unlock()
}
