// Package scm receives file descriptors over unix sockets (SCM_RIGHTS) so that none
// is ever lost: what nobody takes is closed.
package scm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrTooMany means that more descriptors came with a message than may. The kernel
// or Receive has closed those in excess.
var ErrTooMany = errors.New("too many file descriptors")

// Space is the size of a control buffer that takes n descriptors.
func Space(n int) int { return unix.CmsgSpace(4 * n) }

// A List holds received descriptors, close-on-exec if the socket was asked for that
// (MSG_CMSG_CLOEXEC), that nobody owns yet.
type List []int

// Take hands over the first descriptor of the list, which must not be empty.
func (l *List) Take() int {
	fd := (*l)[0]
	*l = append((*l)[:0], (*l)[1:]...)
	return fd
}

// Close closes what was not taken.
func (l *List) Close() {
	for _, fd := range *l {
		_ = unix.Close(fd) // nothing was written to it
	}
	*l = (*l)[:0]
}

// Receive adds the descriptors of control messages, as recvmsg returned them and its
// flags, up to limit in the whole list. What is well-formed is in the list, and thus
// gets closed, even if the rest is not: then the error is ErrTooMany or that of the
// parser.
func (l *List) Receive(oob []byte, flags, limit int) error {
	var bad error
	if flags&unix.MSG_CTRUNC != 0 {
		bad = fmt.Errorf("%w: more than %d", ErrTooMany, limit)
	}
	if len(oob) == 0 {
		return bad
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil && bad == nil {
		bad = err
	}
	for i := range msgs {
		if len(msgs[i].Data)%4 != 0 {
			continue // not whole descriptors; ParseUnixRights would panic
		}
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue // not SCM_RIGHTS
		}
		*l = append(*l, fds...)
	}
	if len(*l) > limit {
		excess := (*l)[limit:]
		excess.Close()
		*l = (*l)[:limit]
		if bad == nil {
			bad = fmt.Errorf("%w: more than %d", ErrTooMany, limit)
		}
	}
	return bad
}
