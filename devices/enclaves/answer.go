package enclaves

import (
	"slices"
	"time"
)

// answer gives the reply to a command of life l, the way f says, unless that
// life is over. Locked.
func (d *Device) answer(l *life, f ReplyFault, r Reply) {
	switch {
	case d.life != l || f.Lost:
	case f.Delay > 0:
		d.later(l, f.Delay, func() { d.deliver(l, f, r) })
	default:
		d.deliver(l, f, r)
	}
}

// deliver lets the driver see r. The vector is raised while d.mu is held, so
// that none comes after RegEnable was written 0. Locked.
func (d *Device) deliver(l *life, f ReplyFault, r Reply) {
	r.AppendTo(d.regs.receive[:0])
	d.regs.replies++
	if f.NoInterrupt {
		return
	}
	d.fn.Interrupt(VectorReply)
	for i := range f.Duplicates {
		if f.DuplicateDelay == 0 {
			d.fn.Interrupt(VectorReply)
			continue
		}
		d.later(l, time.Duration(i+1)*f.DuplicateDelay, func() { d.fn.Interrupt(VectorReply) })
	}
}

// event tells the driver that an enclave ended. Locked; the enclave's slot is
// of the present life.
func (d *Device) event() {
	if d.life == nil || d.faults.LostEvents {
		return
	}
	d.regs.events++
	d.fn.Interrupt(VectorEvent)
}

// later executes f, under the lock, after the delay, if life l goes on that
// long. A driver that does not wait for replies could make us keep any number of
// them, so what goes beyond maxLate is dropped. Locked.
func (d *Device) later(l *life, delay time.Duration, f func()) {
	if len(l.late) >= maxLate {
		d.log.Debug("too much held back: a reply or interrupt is lost")
		return
	}
	d.late.Add(1)
	var t *time.Timer
	t = time.AfterFunc(delay, func() {
		defer d.late.Done()
		d.mu.Lock() // t is set from here on
		defer d.mu.Unlock()
		if d.life == l {
			l.late = slices.DeleteFunc(l.late, func(x *time.Timer) bool { return x == t })
			f()
		}
	})
	l.late = append(l.late, t)
}

// endLife drops all replies and events to come, and cancels a launch. Locked.
func (d *Device) endLife() {
	if d.life == nil {
		return
	}
	d.life.end()
	for _, t := range d.life.late {
		if t.Stop() {
			d.late.Done()
		}
	}
	d.life = nil
}
