package keys

import (
	"math"
	"time"
)

// never is a due time that does not come.
const never = math.MaxInt64

// settle makes the changes that time alone brings: keys whose waiting period is over
// are deleted with their material and aliases, keys whose rotation is due get new
// material. Every operation begins with it, so nobody sees a key after its end; the
// cost, when nothing is due, is one look at the clock.
func (r *Ring) settle() error {
	if r.clock().UnixMilli() < r.due.Load() {
		return nil
	}
	r.write.Lock()
	defer r.write.Unlock()
	return r.settleLocked()
}

// settleLocked is settle for who holds write.
func (r *Ring) settleLocked() error {
	if r.closed {
		return internal("look at key ring", errClosed)
	}
	now := r.clock()
	if now.UnixMilli() < r.due.Load() {
		return nil
	}
	next := int64(never)
	var c change
	r.mu.RLock()
	for _, id := range r.ids {
		e := r.keys[id]
		d := e.key.due()
		switch {
		case d.IsZero():
		case now.Before(d):
			next = min(next, d.UnixMilli())
		case e.key.State == PendingDeletion:
			c.drop = append(c.drop, id)
			c.unname = append(c.unname, r.byKey[id]...)
		case len(e.materials) < maxMaterials:
			c.put = append(c.put, e) // replaced below
		}
	}
	r.mu.RUnlock()
	for i, e := range c.put {
		rotated, err := r.rotated(e, Automatic, e.key.Rotation.Next)
		if err != nil {
			return err
		}
		rotated.key.Rotation.Next = nextRotation(e.key.Rotation, now)
		next = min(next, rotated.key.Rotation.Next.UnixMilli())
		c.put[i] = rotated
	}
	if len(c.put)+len(c.drop) > 0 {
		if err := r.commit(c); err != nil {
			return err
		}
	}
	r.due.Store(next)
	return nil
}

// nextRotation is the first date of the schedule that is still to come. A clock that
// jumped over several of them brings one rotation.
func nextRotation(s Rotation, now time.Time) time.Time {
	const secondsOfDay = 24 * 60 * 60
	missed := (now.Unix() - s.Next.Unix()) / (int64(s.PeriodDays) * secondsOfDay)
	return s.Next.AddDate(0, 0, int(missed+1)*s.PeriodDays)
}
