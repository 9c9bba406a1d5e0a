package nsm

import (
	"fmt"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/devices/virtio"
)

// ring is the device's side of its one queue.
//
// The protocol has no header (enclave-abi.md, section 1.2): the driver posts a
// request as a chain of readable bytes and then a buffer for the reply as a
// chain of its own, and takes both back in that order at one interrupt. The
// buffer may come later than the request, and may have any size: the 4.14 driver
// posts what its caller has, later ones always [wire.MaxResponse].
type ring struct {
	queue *virtio.Queue
	chain virtio.Chain // reused

	// A request taken from the queue whose buffer has not come yet.
	// It is always the chain taken last.
	waiting bool
	head    uint16
	length  int                       // bytes of request in use
	request [wire.MaxRequest + 1]byte // one byte more shows that it is too long

	reply [wire.MaxResponse]byte // reused
}

// DeviceID is 33.
func (d *Device) DeviceID() uint32 { return virtio.IDNSM }

// Features is none: the driver knows no feature bits.
func (d *Device) Features() uint64 { return 0 }

// NumQueues is 1.
func (d *Device) NumQueues() int { return 1 }

// Config is nil: there is no configuration space.
func (d *Device) Config() []byte { return nil }

// StartQueue implements [virtio.Device].
func (d *Device) StartQueue(_ int, q *virtio.Queue) {
	d.ring.queue = q
}

// StopQueue implements [virtio.Device]. A request that waits for its buffer was
// not carried out and goes back to the ring: if the queue starts again where it
// stopped, the request is there again.
func (d *Device) StopQueue(int) {
	r := &d.ring
	if r.waiting {
		if err := r.queue.Unpop(r.head); err != nil {
			d.log.Error("nsm request lost", "reason", err)
		}
	}
	r.queue, r.chain, r.waiting = nil, virtio.Chain{}, false
}

// HandleQueue answers the requests whose buffers are there and interrupts once
// for all of them, and not at all if nothing goes back: the driver takes an
// interrupt without a reply for a failure.
//
// It takes at most one chain more than the ring has descriptors, so that a
// guest that feeds the ring for ever cannot keep it; the driver never has more
// than one request, that is two chains, in flight.
func (d *Device) HandleQueue(int) error {
	q := d.ring.queue
	if q == nil {
		return nil // a kick that crossed StopQueue
	}
	for range q.Size() + 1 {
		ok, err := q.Pop(&d.ring.chain)
		if err != nil {
			return fmt.Errorf("nsm queue: %w", err)
		}
		if !ok {
			break
		}
		if err := d.take(&d.ring.chain); err != nil {
			return fmt.Errorf("nsm queue: %w", err)
		}
	}
	// Nothing that was pushed is visible before this, so that no reply is
	// missing when the driver looks.
	if err := q.Notify(); err != nil {
		return fmt.Errorf("nsm queue: %w", err)
	}
	return nil
}

// take deals with one chain.
//
// A request waits for the very next chain, which must be its buffer. What is
// neither goes back unused, with length 0: the ring is sound, so the device
// stays in service. QEMU's virtio-nsm stops the device instead.
func (d *Device) take(c *virtio.Chain) error {
	r := &d.ring
	request, buffer := len(c.In) == 0, len(c.Out) == 0 && len(c.In) > 0
	if r.waiting {
		r.waiting = false
		written := 0
		if buffer {
			written = c.CopyIn(d.answer(r.reply[:0], r.request[:r.length], c.InLen()))
		} else {
			d.log.Debug("nsm request dropped: the chain after it is no buffer for its reply")
		}
		if err := r.queue.Push(r.head, 0); err != nil {
			return err
		}
		if buffer {
			return r.queue.Push(c.Head, uint32(written))
		}
	}
	if request {
		r.waiting, r.head, r.length = true, c.Head, c.CopyOut(r.request[:])
		return nil
	}
	d.log.Debug("nsm chain returned unused: no request goes before it", "out", c.OutLen(), "in", c.InLen())
	return r.queue.Push(c.Head, 0)
}
