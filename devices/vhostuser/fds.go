package vhostuser

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// An fdList holds received file descriptors that nobody owns yet. What is not
// taken is closed with the message.
type fdList []int

// take hands over the only descriptor of the list.
func (l *fdList) take() int {
	fd := (*l)[0]
	*l = (*l)[:0]
	return fd
}

// close closes what was not taken.
func (l *fdList) close() {
	for _, fd := range *l {
		_ = unix.Close(fd) // nothing was written to it
	}
	*l = (*l)[:0]
}

// receive adds the descriptors of control messages. Those that are well-formed
// are in the list, and thus get closed, even if others are not.
func (l *fdList) receive(oob []byte, flags int) error {
	var bad error
	if flags&unix.MSG_CTRUNC != 0 {
		// The kernel has closed those that did not fit.
		bad = fmt.Errorf("%w: more than %d", ErrDescriptors, maxFDs)
	}
	if len(oob) == 0 {
		return bad
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil && bad == nil {
		bad = fmt.Errorf("%w: %w", ErrDescriptors, err)
	}
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue // not SCM_RIGHTS
		}
		*l = append(*l, fds...)
	}
	if len(*l) > maxFDs && bad == nil {
		bad = fmt.Errorf("%w: more than %d", ErrDescriptors, maxFDs)
	}
	return bad
}
