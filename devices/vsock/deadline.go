package vsock

import (
	"sync"
	"time"
)

// A deadline is one of the deadlines of a Conn or Listener. The lock of its
// condition variable protects it.
type deadline struct {
	expired bool
	timer   *time.Timer
	set     uint64 // counts settings, so that a late timer is recognised
}

// at sets the deadline, clears it for the zero time, and wakes everyone who
// waits on cond if it has passed.
func (d *deadline) at(t time.Time, cond *sync.Cond) {
	d.stop()
	d.expired = false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.expired = true
		cond.Broadcast()
		return
	}
	set := d.set
	d.timer = time.AfterFunc(wait, func() {
		cond.L.Lock()
		defer cond.L.Unlock()
		if d.set == set {
			d.expired = true
			cond.Broadcast()
		}
	})
}

// stop makes a pending timer have no effect.
func (d *deadline) stop() {
	d.set++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
