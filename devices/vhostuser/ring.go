package vhostuser

import (
	"errors"
	"time"

	"github.com/nitrolab/nitrolab/devices/internal/eventfd"
	"github.com/nitrolab/nitrolab/devices/virtio"
)

// A ring is one queue as the front-end sees it. Everything but call and errs
// belongs to the goroutine of Serve.
//
// It runs, that is, the device owns a virtio.Queue over it, from the moment
// when its addresses and kick are known and it is enabled, and the device
// looks at it once at that moment: the driver may have notified long before
// (the kernel's NSM driver does so during its probe). It stops running when it
// is disabled, at GET_VRING_BASE, or by an error.
type ring struct {
	index   int
	num     uint32 // descriptors, as the guest says: not checked before start
	addr    ringAddr
	located bool   // addr is set
	base    uint16 // available index to begin at
	enabled bool
	kick    *eventfd.Listener // nil: stopped
	failed  bool              // broken by the driver; until the next kick descriptor

	// answered is true if the device saw the ring since it got its kick, so
	// that interrupts may have gone to an earlier call descriptor.
	answered bool

	call eventfd.Signal // interrupt
	errs eventfd.Signal // told when the ring fails

	run *run // nil while it does not run
}

// ringAddr are the addresses of SET_VRING_ADDR, in the front-end's space.
type ringAddr struct{ desc, used, avail uint64 }

// A run is the goroutine of a running ring.
type run struct {
	queue *virtio.Queue
	done  chan struct{} // closed when the goroutine ends
	err   error         // why it ended by itself; read after done
}

// start runs r if all it needs is there. What the guest chose, such as the
// queue size, may be wrong: that fails the ring, not the request.
func (s *session) start(r *ring) {
	if r.run != nil || r.failed || r.kick == nil || !r.enabled || !r.located || s.memory == nil {
		return
	}
	q, err := s.newQueue(r)
	if err != nil {
		r.failed = true
		s.ringFailed(r, err)
		return
	}
	r.answered = true
	r.run = &run{queue: q, done: make(chan struct{})}
	r.kick.Resume()
	go s.handleRing(r, r.run, r.kick)
}

// newQueue makes the device's view of the ring.
func (s *session) newQueue(r *ring) (*virtio.Queue, error) {
	n := int(min(r.num, virtio.MaxQueueSize+1)) // one more is refused below
	part := func(addr uint64, size int, err *error) []byte {
		if *err != nil {
			return nil
		}
		var b []byte
		b, *err = s.memory.UserSlice(addr, size)
		return b
	}
	var err error
	cfg := virtio.QueueConfig{
		Size:      n,
		Desc:      part(r.addr.desc, virtio.DescBytes(n), &err),
		Avail:     part(r.addr.avail, virtio.AvailBytes(n, s.features), &err),
		Used:      part(r.addr.used, virtio.UsedBytes(n, s.features), &err),
		Memory:    s.memory,
		Features:  s.features,
		Next:      r.base,
		Interrupt: func() error { _, err := r.call.Raise(); return err },
	}
	if err != nil {
		return nil, err
	}
	return virtio.NewQueue(cfg)
}

// handleRing is the goroutine of a running ring, the only one that calls the
// device for this queue.
func (s *session) handleRing(r *ring, run *run, k *eventfd.Listener) {
	defer close(run.done)
	s.dev.StartQueue(r.index, run.queue)
	var buf [8]byte
	err := s.dev.HandleQueue(r.index)
	for err == nil {
		if err = k.Wait(&buf); err == nil {
			err = s.dev.HandleQueue(r.index)
		}
	}
	// What the driver offered before the stop may be a guest's last words: its
	// kick and the stop race through two sockets.
	if errors.Is(err, eventfd.ErrStopped) {
		if lastErr := s.dev.HandleQueue(r.index); lastErr != nil {
			err = lastErr
		}
	}
	s.dev.StopQueue(r.index)
	// What the device pushed without notifying must not be lost.
	if notifyErr := run.queue.Notify(); errors.Is(err, eventfd.ErrStopped) && notifyErr != nil {
		err = notifyErr
	}
	if held := run.queue.Held(); held > 0 {
		s.log.Warn("device stopped with chains in flight", "queue", r.index, "chains", held)
	}
	if !errors.Is(err, eventfd.ErrStopped) {
		run.err = err
		s.ringFailed(r, err)
	}
}

// ringFailed makes the failure of r known. It is called from the goroutine of
// Serve or of the ring.
func (s *session) ringFailed(r *ring, err error) {
	s.log.Warn("virtio ring stopped", "queue", r.index, "err", err)
	if _, err := r.errs.Raise(); err != nil {
		s.log.Warn("error descriptor of ring", "queue", r.index, "err", err)
	}
	if s.cfg.OnRingError != nil {
		s.cfg.OnRingError(r.index, err)
	}
}

// drainTime bounds the device's last look at a ring that is being stopped. It
// takes microseconds, unless the guest does not stop.
const drainTime = 100 * time.Millisecond

// halt stops r and waits until the device has given it back.
func (s *session) halt(r *ring) {
	if r.run == nil {
		return
	}
	r.kick.Stop()
	// A guest that goes on feeding the ring must not hold this up.
	limit := time.AfterFunc(drainTime, r.run.queue.Stop)
	<-r.run.done
	limit.Stop()
	r.base = r.run.queue.Next()
	r.failed = r.run.err != nil
	r.run = nil
}

// dropKick puts r into the stopped state of the protocol. r does not run.
func (r *ring) dropKick() {
	if r.kick != nil {
		r.kick.Close()
		r.kick = nil
	}
	r.failed, r.answered = false, false
}

func (s *session) anyRunning() bool {
	for _, r := range s.rings {
		if r.run != nil {
			return true
		}
	}
	return false
}
