package enclaves

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// The commands that wait for the hypervisor. Each checks the request under
// the lock, where an error is the reply, and leaves the rest to a goroutine.

// async executes work on a goroutine, without the lock, and then under the lock
// what work returned, which gives the reply. Locked.
func (d *Device) async(f ReplyFault, work func() (finish func() Reply)) {
	l, done := d.life, make(chan struct{})
	d.running = done
	go func() {
		defer close(done)
		finish := work()
		d.mu.Lock()
		defer d.mu.Unlock()
		r := finish()
		d.running = nil
		d.answer(l, f, r)
	}()
}

// start is ENCLAVE_START. Locked.
func (d *Device) start(f ReplyFault, r StartRequest) error {
	s, err := d.table.start(r)
	if err != nil {
		return err
	}
	c := LaunchConfig{
		SlotUID: s.uid,
		CID:     uint32(r.CID), // checked
		Debug:   r.Flags&FlagDebug != 0,
		Memory:  slices.Clone(s.regions),
		CPUs:    slices.Clone(s.cpus),
	}
	ctx := d.life.ctx
	d.async(f, func() func() Reply {
		e, err := d.launch(ctx, c)
		return func() Reply {
			if err != nil {
				d.log.Warn("enclave not started", "slot", s.uid, "err", err)
				return failure(err)
			}
			s.enclave, s.cid, s.flags, s.state = e, e.CID(), r.Flags, StateRunning
			d.log.Info("enclave started", "slot", s.uid, "cid", s.cid, "debug", c.Debug)
			d.watchers.Add(1)
			go d.watch(s) // hears of its end after the reply
			return Reply{SlotUID: s.uid, CID: uint64(s.cid)}
		}
	})
	return nil
}

func (d *Device) launch(ctx context.Context, c LaunchConfig) (Enclave, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.LaunchTimeout)
	defer cancel()
	e, err := d.cfg.Hypervisor.Launch(ctx, c)
	if err == nil && e == nil {
		err = errors.New("no enclave")
	}
	if err != nil {
		return nil, fmt.Errorf("launch enclave of slot %#x: %w", c.SlotUID, err)
	}
	return e, nil
}

// watch notices the end of the enclave of s.
func (d *Device) watch(s *slot) {
	defer d.watchers.Done()
	select {
	case <-s.enclave.Done():
	case <-d.quit:
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.state != StateRunning {
		return // by a command
	}
	s.state = StateStopped
	d.log.Info("enclave ended", "slot", s.uid, "cid", s.cid)
	if !s.stopping {
		d.event()
	}
}

// stop is ENCLAVE_STOP. It succeeds for an enclave that has ended already: the
// event of that may be on its way to the driver, which would give up the slot
// for good if this failed. Locked.
func (d *Device) stop(f ReplyFault, r SlotRequest) error {
	s, err := d.table.find(r.SlotUID)
	if err != nil {
		return err
	}
	if s.state == StateInit {
		return fmt.Errorf("slot %#x: enclave never started: %w", s.uid, errState)
	}
	d.async(f, func() func() Reply {
		err := d.end(s)
		return func() Reply {
			if err != nil {
				d.log.Error("enclave not stopped", "slot", s.uid, "err", err)
				return failure(err)
			}
			return Reply{SlotUID: s.uid}
		}
	})
	return nil
}

// free is SLOT_FREE. An enclave has to be stopped before: Linux does so, and
// its memory must not become the parent's by mistake. Locked.
func (d *Device) free(f ReplyFault, r SlotRequest) error {
	s, err := d.table.find(r.SlotUID)
	if err != nil {
		return err
	}
	if s.state == StateRunning {
		return fmt.Errorf("slot %#x: enclave runs: %w", s.uid, errBusy)
	}
	d.async(f, func() func() Reply {
		err := d.vacate(s)
		return func() Reply {
			if err != nil {
				d.log.Error("slot not freed", "slot", s.uid, "err", err)
				return failure(err)
			}
			d.table.remove(s)
			return Reply{SlotUID: s.uid}
		}
	})
	return nil
}
