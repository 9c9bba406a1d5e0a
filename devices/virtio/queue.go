package virtio

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nitrolab/nitrolab/devices/guestmem"
)

// MaxQueueSize is the largest queue, virtio 1.2 section 2.7.
const MaxQueueSize = 32768

// MaxSegments bounds the descriptors of one chain. A chain of direct
// descriptors is no longer than the queue anyway; Linux makes indirect ones
// longer than that. QEMU's own limit is the same (VIRTQUEUE_MAX_SIZE).
const MaxSegments = 1024

// A QueueConfig says where a split virtqueue lies. Nothing is changed by
// [NewQueue].
type QueueConfig struct {
	// Size is the number of descriptors, a power of two up to [MaxQueueSize].
	Size int

	// The three parts of the ring as mapped, at least DescBytes, AvailBytes
	// and UsedBytes long, and aligned to 16, 2 and 4 bytes.
	Desc, Avail, Used []byte

	// Memory resolves the addresses in descriptors.
	Memory *guestmem.Memory

	// Features are the negotiated ones; ring bits are picked out.
	Features uint64

	// Next is the available index to begin at: 0, or what [Queue.Next] said
	// when the queue was stopped.
	Next uint16

	// Interrupt raises the queue's interrupt in the driver. It is called by
	// Notify, may be called from any goroutine and does not block. Nil means
	// that the driver polls.
	Interrupt func() error
}

// DescBytes, AvailBytes and UsedBytes are the sizes of the parts of a ring of
// n descriptors, the event words included if EVENT_IDX was negotiated
// (virtio 1.2, 2.7.5, 2.7.6, 2.7.8).
func DescBytes(n int) int { return descSize * n }

// AvailBytes is described with [DescBytes].
func AvailBytes(n int, features uint64) int { return ringHeader + 2*n + eventBytes(features) }

// UsedBytes is described with [DescBytes].
func UsedBytes(n int, features uint64) int { return ringHeader + usedElem*n + eventBytes(features) }

func eventBytes(features uint64) int {
	if features&FeatureEventIdx != 0 {
		return 2
	}
	return 0
}

// Layout of the available and used rings: flags, idx, then the entries.
const (
	ringHeader = 4
	ringIdx    = 2
	usedElem   = 8

	availNoInterrupt = 1 // virtio 1.2, 2.7.6: VIRTQ_AVAIL_F_NO_INTERRUPT
)

// A Queue is the device's side of one split virtqueue. It is not safe for
// concurrent use, except for Stop.
//
// Legacy and modern drivers use it alike: their rings differ only in where
// they lie.
type Queue struct {
	cfg      QueueConfig
	size     uint16 // 1 to 32768
	indirect bool   // FeatureIndirectDesc
	eventIdx bool   // FeatureEventIdx

	next  uint16 // available index of the next chain to take
	avail uint16 // avail.idx as last read; next never passes it
	used  uint16 // used.idx as the driver sees it
	// staged counts used elements written behind used, not yet published.
	staged uint16

	// unsignalled counts published elements since the last decision whether
	// to interrupt; first is true until there was one.
	unsignalled uint32
	first       bool

	held  int      // chains popped and not pushed
	flags []uint64 // bit per head: popped and not pushed

	err error // sticky; set when the driver broke the ring

	stopped atomic.Bool
}

// NewQueue checks cfg and returns the queue. The used index is taken from the
// ring, where an earlier run may have left it.
func NewQueue(cfg QueueConfig) (*Queue, error) {
	n := cfg.Size
	if n < 1 || n > MaxQueueSize || n&(n-1) != 0 {
		return nil, fmt.Errorf("virtqueue size %d: not a power of two up to %d", n, MaxQueueSize)
	}
	parts := []struct {
		name  string
		mem   []byte
		want  int
		align uintptr
	}{
		{"descriptor table", cfg.Desc, DescBytes(n), 16},
		{"available ring", cfg.Avail, AvailBytes(n, cfg.Features), 2},
		{"used ring", cfg.Used, UsedBytes(n, cfg.Features), 4},
	}
	for _, p := range parts {
		if len(p.mem) < p.want {
			return nil, fmt.Errorf("virtqueue %s: %d bytes, want %d", p.name, len(p.mem), p.want)
		}
		if !guestmem.Aligned(p.mem, p.align) {
			return nil, fmt.Errorf("virtqueue %s: not aligned to %d bytes", p.name, p.align)
		}
	}
	if cfg.Memory == nil {
		return nil, errors.New("virtqueue: no memory")
	}
	q := &Queue{
		cfg:      cfg,
		size:     uint16(n),
		indirect: cfg.Features&FeatureIndirectDesc != 0,
		eventIdx: cfg.Features&FeatureEventIdx != 0,
		next:     cfg.Next,
		avail:    cfg.Next,
		first:    true,
		flags:    make([]uint64, (n+63)/64),
	}
	q.used = uint16(guestmem.LoadAcquire(cfg.Used, 0) >> 16)
	return q, nil
}

// Size is the number of descriptors of the queue.
func (q *Queue) Size() int { return int(q.size) }

// Next is the available index of the chain that the next Pop returns.
func (q *Queue) Next() uint16 { return q.next }

// Held is the number of chains that were popped and neither pushed nor
// rewound.
func (q *Queue) Held() int { return q.held }

// Pop takes the next available chain into c. ok is false if there is none; the
// driver notifies when there is one again. An error is a [*RingError].
//
// After Stop there never is one. Every ring entry and descriptor is read exactly once, so that what was
// checked is what is used.
func (q *Queue) Pop(c *Chain) (ok bool, err error) {
	c.reset()
	if q.err != nil {
		return false, q.err
	}
	if q.stopped.Load() || q.next == q.avail && !q.poll() {
		return false, q.err
	}
	entry := ringHeader + 2*int(q.next&(q.size-1))
	head := guestmem.Load16(q.cfg.Avail, entry)
	if err := q.take(c, head); err != nil {
		c.reset()
		q.err = &RingError{Head: head, Err: err}
		return false, q.err
	}
	q.next++
	return true, nil
}

// Stop makes Pop find nothing from now on. A transport calls it, from any
// goroutine, before it takes the queue back from the device: else a driver that
// feeds the ring without end could keep the device from returning it.
func (q *Queue) Stop() { q.stopped.Store(true) }

// poll looks for new chains and reports whether there are any. If there are
// none it asks for a notification and looks again, so that a chain made
// available in between is not missed.
func (q *Queue) poll() bool {
	if q.readAvail() {
		return true
	}
	if q.err != nil || !q.eventIdx {
		// Without EVENT_IDX notifications are never suppressed.
		return false
	}
	guestmem.Store16(q.cfg.Used, ringHeader+usedElem*int(q.size), q.next)
	// The release store, of the value that is there already, keeps the
	// event index before the second look.
	guestmem.StoreRelease(q.cfg.Used, 0, uint32(q.used)<<16)
	return q.readAvail()
}

// readAvail reads avail.idx and reports whether it is ahead of q.next.
func (q *Queue) readAvail() bool {
	idx := q.loadAvailIdx()
	if idx-q.next > q.size {
		q.err = &RingError{Head: idx, Err: ErrAvailIndex}
		return false
	}
	q.avail = idx
	return idx != q.next
}

// loadAvailIdx reads avail.idx, ordered before the ring entries it covers. The
// ring is aligned to 2 bytes only, so idx is either half of an aligned word;
// both words lie inside the ring.
func (q *Queue) loadAvailIdx() uint16 {
	if guestmem.Aligned(q.cfg.Avail, 4) {
		return uint16(guestmem.LoadAcquire(q.cfg.Avail, 0) >> 16)
	}
	return uint16(guestmem.LoadAcquire(q.cfg.Avail, ringIdx))
}
