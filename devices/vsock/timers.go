package vsock

import (
	"container/heap"
	"time"
)

// timers is a heap of streams by deadline, for container/heap. Each stream has
// at most one.
type timers []*stream

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].deadline.Before(t[j].deadline) }

func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].timer, t[j].timer = i, j
}

func (t *timers) Push(x any) {
	s := x.(*stream)
	s.timer = len(*t)
	*t = append(*t, s)
}

func (t *timers) Pop() any {
	last := len(*t) - 1
	s := (*t)[last]
	s.timer = -1
	(*t)[last] = nil
	*t = (*t)[:last]
	return s
}

// arm sets the timer of a stream, replacing the one it has.
func (d *Device) arm(s *stream, after time.Duration) {
	if d == nil {
		return
	}
	d.mu.Lock()
	s.deadline = time.Now().Add(after)
	if s.timer >= 0 {
		heap.Fix(&d.timers, s.timer)
	} else {
		heap.Push(&d.timers, s)
	}
	early := d.sleep.IsZero() || s.deadline.Before(d.sleep)
	if early {
		d.sleep = s.deadline
	}
	d.mu.Unlock()
	if early {
		d.wake()
	}
}

// armed reports whether the timer of a stream is set.
func (d *Device) armed(s *stream) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return s.timer >= 0
}

// expired takes the next stream whose deadline has passed. If there is none,
// it returns how long to wait for one, 0 for ever.
func (d *Device) expired(now time.Time) (*stream, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.timers) == 0 {
		d.sleep = time.Time{}
		return nil, 0
	}
	d.sleep = d.timers[0].deadline
	if wait := d.sleep.Sub(now); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&d.timers).(*stream), 0
}

// pump runs until Close. It is the goroutine that fills receive buffers when
// nobody else is at hand to do so, and that acts on timers.
func (d *Device) pump() {
	defer d.pumped.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s, wait := d.expired(time.Now())
		if s != nil {
			s.timeout()
			continue
		}
		if w := d.release(time.Now()); w > 0 && (wait == 0 || w < wait) {
			wait = w
		}
		if d.fill() != nil {
			// HandleQueue tells the transport, but only if the guest ever
			// notifies the queue again.
			d.resetAll()
		}
		var expiry <-chan time.Time
		if wait > 0 {
			timer.Reset(wait)
			expiry = timer.C
		}
		select {
		case <-d.wakeup:
		case <-expiry:
		case <-d.done:
			return
		}
	}
}

// wake makes the pump fill receive buffers and look at the timers.
func (d *Device) wake() {
	select {
	case d.wakeup <- struct{}{}:
	default:
	}
}
