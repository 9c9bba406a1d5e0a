package virtio

import (
	"errors"
	"fmt"
)

// What a driver can do wrong with a ring, inside a [*RingError].
var (
	ErrAvailIndex = errors.New("available index is ahead by more than the queue size")
	ErrHead       = errors.New("head is not a descriptor of the table")
	ErrInFlight   = errors.New("head is available twice")
	ErrNext       = errors.New("next is not a descriptor of the table")
	ErrChainLong  = errors.New("chain loops or is too long")
	ErrOrder      = errors.New("device-readable descriptor after a device-writable one")
	ErrIndirect   = errors.New("illegal indirect descriptor")
	ErrAddress    = errors.New("buffer is not in guest memory")
)

// A RingError reports that the driver broke the rules of the split ring
// (virtio 1.2, 2.7). The queue is of no use any more: every later Pop returns
// the same error.
type RingError struct {
	Head uint16 // first descriptor of the chain; avail.idx for ErrAvailIndex
	Err  error  // one of the Err values of this package, possibly wrapped
}

func (e *RingError) Error() string { return fmt.Sprintf("virtqueue chain %d: %v", e.Head, e.Err) }

func (e *RingError) Unwrap() error { return e.Err }

// ErrNotPopped means that Push or Rewind was given a chain that the device
// does not hold: a mistake of the device model, not of the driver.
var ErrNotPopped = errors.New("chain is not held by the device")
