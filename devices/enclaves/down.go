package enclaves

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/nitrolab/nitrolab/devices/weaken"
)

// end stops the enclave of s, if it has one that was not stopped before. Only
// the goroutine of a command or of a takeDown calls it, so s has no other user
// but its watcher.
func (d *Device) end(s *slot) error {
	d.mu.Lock()
	e := s.enclave
	if s.stopped {
		e = nil
	}
	s.stopping = e != nil
	d.mu.Unlock()
	if e == nil {
		return nil
	}

	err := e.Stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	s.stopping = false
	if err != nil {
		return fmt.Errorf("stop enclave of slot %#x: %w", s.uid, err)
	}
	s.stopped, s.state = true, StateStopped
	return nil
}

// vacate makes sure that nothing of s is in use and its memory is zero. The
// caller removes s after that.
func (d *Device) vacate(s *slot) error {
	if err := d.end(s); err != nil {
		return err
	}
	if len(s.regions) == 0 || d.cfg.Weaken.Off(weaken.ScrubOnFree) {
		return nil
	}
	if err := d.cfg.Hypervisor.Scrub(slices.Clone(s.regions)); err != nil {
		return fmt.Errorf("scrub memory of slot %#x: %w", s.uid, err)
	}
	return nil
}

// A takeDown frees all slots.
type takeDown struct {
	done chan struct{} // closed at the end
	err  error         // what could not be freed; valid then
}

// takeDownAll ends the life of the device and frees all slots, on a goroutine if
// there are any. It returns what is under way, nil if there is nothing to do;
// begun says that it was not before. Locked.
func (d *Device) takeDownAll() (down *takeDown, begun bool) {
	d.endLife()
	if d.down != nil {
		return d.down, false
	}
	if len(d.table.slots) == 0 { // so no command runs either: each that does has a slot
		d.power = off
		return nil, false
	}
	d.power = disabling
	d.down = &takeDown{done: make(chan struct{})}
	go d.takeDown(d.down, d.running)
	return d.down, true
}

// takeDown waits for the running command, if there is one, and frees all slots.
func (d *Device) takeDown(down *takeDown, running <-chan struct{}) {
	defer close(down.done)
	if running != nil {
		<-running
	}
	// Nobody else changes the table now: commands need power.
	d.mu.Lock()
	slots := slices.Clone(d.table.slots)
	d.mu.Unlock()

	errs := make([]error, len(slots))
	var all sync.WaitGroup
	for i, s := range slots {
		all.Go(func() { errs[i] = d.vacate(s) })
	}
	all.Wait()

	d.mu.Lock()
	defer d.mu.Unlock()
	for i, s := range slots {
		if errs[i] == nil {
			d.table.remove(s)
		}
	}
	if down.err = errors.Join(errs...); down.err != nil {
		d.log.Error("not all slots taken down", "err", down.err)
	} else {
		d.power = off
	}
	d.down = nil
}

// Close takes everything down and waits until no goroutine is left, as long as
// the hypervisor takes for it. The error says what could not be taken down; a
// further call tries that again.
func (d *Device) Close() error {
	var err error
	for begun := false; !begun; { // one that runs already may fail: try once after it
		d.mu.Lock()
		d.closed = true
		var down *takeDown
		down, begun = d.takeDownAll()
		d.mu.Unlock()
		if down == nil {
			err = nil
			break
		}
		<-down.done
		err = down.err
	}
	d.quitOnce.Do(func() { close(d.quit) })
	d.watchers.Wait()
	d.late.Wait()
	return err
}
