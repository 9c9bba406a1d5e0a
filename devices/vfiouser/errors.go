package vfiouser

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/nitrolab/nitrolab/devices/guestmem"
)

// What a client can do wrong. Those that leave the stream of messages intact are
// answered by an error reply; the others end the connection, inside a
// [*ProtocolError].
var (
	// ErrHeader: the header of a message is none.
	ErrHeader = errors.New("malformed header")

	// ErrSize: a message larger than any, or of the wrong size for its command.
	ErrSize = errors.New("wrong message size")

	// ErrTruncated: the peer closed the connection or fell silent in the middle
	// of a message, or does not read its replies.
	ErrTruncated = errors.New("message is incomplete")

	// ErrVersion: another major version, capabilities that cannot be understood,
	// or a first message that is not VERSION.
	ErrVersion = errors.New("no common version")

	// ErrUnsupported: a command or a flag that is not served.
	ErrUnsupported = errors.New("not supported")

	// ErrDescriptors: too many, too few or the wrong file descriptors.
	ErrDescriptors = errors.New("wrong file descriptors")

	// ErrRange: a region, interrupt or address that does not exist.
	ErrRange = errors.New("out of range")

	// ErrValue: a field has a value that the protocol does not allow.
	ErrValue = errors.New("illegal value")
)

// A ProtocolError reports that the client broke the vfio-user protocol so that the
// connection had to end.
type ProtocolError struct {
	Command string // name as in the specification; empty if it was never read
	Err     error  // wraps one of the Err values of this package
}

func (e *ProtocolError) Error() string {
	if e.Command == "" {
		return fmt.Sprintf("vfio-user: %v", e.Err)
	}
	return fmt.Sprintf("vfio-user %s: %v", e.Command, e.Err)
}

func (e *ProtocolError) Unwrap() error { return e.Err }

// errnoOf is what an error reply says.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	var overlap *guestmem.OverlapError
	switch {
	case errors.As(err, &errno) && errno != 0:
		return errno
	case errors.As(err, &overlap):
		return syscall.EEXIST
	case errors.Is(err, guestmem.ErrTooMany):
		return syscall.ENOSPC
	case errors.Is(err, errFeature):
		return syscall.ENOTTY
	}
	return syscall.EINVAL
}
