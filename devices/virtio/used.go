package virtio

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/nitrolab/nitrolab/devices/guestmem"
)

// Push puts a popped chain on the used ring: the device is done with its
// buffers and wrote the first written bytes of In. The driver sees it at the
// next Notify, together with everything pushed since the one before: the NSM
// driver fails if it ever sees a request returned without its response.
//
// The error wraps [ErrNotPopped].
func (q *Queue) Push(head uint16, written uint32) error {
	if err := q.release(head); err != nil {
		return fmt.Errorf("push chain %d: %w", head, err)
	}
	at := ringHeader + usedElem*int((q.used+q.staged)&(q.size-1))
	elem := q.cfg.Used[at : at+usedElem]
	binary.LittleEndian.PutUint64(elem, uint64(head)|uint64(written)<<32)
	q.staged++
	if q.staged == q.size {
		// The next element would overwrite the first one.
		q.publish()
	}
	return nil
}

// Unpop gives back the chain that was popped last and not pushed, so that the
// next Pop, or the one after a restart of the queue, returns it again. Several
// are given back in reverse order. A device does this in StopQueue with chains
// it cannot complete, else the driver waits for them for ever.
//
// The error wraps [ErrNotPopped].
func (q *Queue) Unpop(head uint16) error {
	if err := q.release(head); err != nil {
		return fmt.Errorf("unpop chain %d: %w", head, err)
	}
	q.next--
	return nil
}

// hold notes that the device holds head; false if it does already.
func (q *Queue) hold(head uint16) bool {
	w, bit := &q.flags[head/64], uint64(1)<<(head%64)
	if *w&bit != 0 {
		return false
	}
	*w |= bit
	q.held++
	return true
}

// release undoes hold.
func (q *Queue) release(head uint16) error {
	if head >= q.size || q.flags[head/64]&(1<<(head%64)) == 0 {
		return ErrNotPopped
	}
	q.flags[head/64] &^= 1 << (head % 64)
	q.held--
	return nil
}

// publish lets the driver see the staged elements.
func (q *Queue) publish() {
	q.used += q.staged
	q.unsignalled += uint32(q.staged)
	q.staged = 0
	// Flags stay 0: notifications are suppressed by avail_event or not at all.
	guestmem.StoreRelease(q.cfg.Used, 0, uint32(q.used)<<16)
	if q.unsignalled > math.MaxUint16 {
		// More than the 16-bit comparison of interruptWanted can express.
		q.unsignalled, q.first = math.MaxUint16, true
	}
}

// Notify lets the driver see what was pushed and interrupts it once if it
// wants that. It does nothing if nothing was pushed since the last Notify. The
// error is that of the Interrupt function.
func (q *Queue) Notify() error {
	if q.staged != 0 {
		q.publish()
	}
	if q.unsignalled == 0 {
		return nil
	}
	wanted := q.interruptWanted()
	q.unsignalled, q.first = 0, false
	if !wanted || q.cfg.Interrupt == nil {
		return nil
	}
	if err := q.cfg.Interrupt(); err != nil {
		return fmt.Errorf("virtqueue interrupt: %w", err)
	}
	return nil
}

// interruptWanted decides as virtio 1.2, 2.7.7.2 says. The decision follows
// the publication of used.idx: loadAvailIdx, whose result is of no interest
// here, is the acquire that keeps the loads behind the release store.
func (q *Queue) interruptWanted() bool {
	q.loadAvailIdx()
	if !q.eventIdx {
		return guestmem.Load16(q.cfg.Avail, 0)&availNoInterrupt == 0
	}
	if q.first {
		return true
	}
	event := guestmem.Load16(q.cfg.Avail, ringHeader+2*int(q.size))
	return q.used-event-1 < uint16(q.unsignalled)
}
