package vhostuser

import (
	"errors"
	"fmt"
)

// What a front-end can do wrong, inside a [*ProtocolError].
var (
	// ErrHeader: not version 1, or a reply where a request is due.
	ErrHeader = errors.New("malformed header")

	// ErrSize: a payload larger than any, or of the wrong size for its request.
	ErrSize = errors.New("wrong payload size")

	// ErrTruncated: the peer closed the connection or fell silent in the
	// middle of a message.
	ErrTruncated = errors.New("message is incomplete")

	// ErrUnsupported: a request or a value that belongs to a feature that is
	// not offered.
	ErrUnsupported = errors.New("not supported")

	// ErrDescriptors: too many, too few or the wrong file descriptors.
	ErrDescriptors = errors.New("wrong file descriptors")

	// ErrQueueIndex: the device has no such queue.
	ErrQueueIndex = errors.New("no such queue")

	// ErrFeatures: a feature was acknowledged that was not offered.
	ErrFeatures = errors.New("feature was not offered")

	// ErrRunning: something was changed that cannot be while a ring runs.
	ErrRunning = errors.New("ring is running")

	// ErrValue: a field has a value the protocol does not allow.
	ErrValue = errors.New("illegal value")

	// ErrMemory: the memory table cannot be mapped. The reason is one of
	// those of guestmem.Map.
	ErrMemory = errors.New("illegal memory table")
)

// A ProtocolError reports that the front-end broke the vhost-user protocol in
// a way that could not be answered, so that the connection had to end.
type ProtocolError struct {
	Request string // name as in the protocol; empty if it was never read
	Err     error  // wraps one of the Err values of this package
}

func (e *ProtocolError) Error() string {
	if e.Request == "" {
		return fmt.Sprintf("vhost-user: %v", e.Err)
	}
	return fmt.Sprintf("vhost-user %s: %v", e.Request, e.Err)
}

func (e *ProtocolError) Unwrap() error { return e.Err }
