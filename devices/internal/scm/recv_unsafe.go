package scm

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Receiver is recvmsg(2) without allocation: the structures the kernel wants are
// kept. (unix.Recvmsg makes an address of 112 bytes for each call.) It is for one
// goroutine.
type Receiver struct {
	msg unix.Msghdr
	iov unix.Iovec
	oob []byte
}

// NewReceiver returns a Receiver that takes up to n descriptors at a time.
func NewReceiver(n int) *Receiver { return &Receiver{oob: make([]byte, Space(n))} }

// Receive waits for something to arrive on socket fd and reads it into b, which must
// not be empty. Descriptors that arrive are close-on-exec. oob, which is valid until
// the next call, and flags are for [List.Receive]. n is 0 at the end of the stream.
// The error is a syscall.Errno, EINTR among them.
//
// Preconditions: r is on the heap, which NewReceiver sees to.
func (r *Receiver) Receive(fd int, b []byte) (n int, oob []byte, flags int, err error) {
	r.prepare(b)
	got, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.msg)), unix.MSG_CMSG_CLOEXEC)
	return r.result(got, errno)
}

// TryReceive is Receive without waiting: the error is EAGAIN if nothing is there. The
// runtime is not told of the system call, because it takes no time.
func (r *Receiver) TryReceive(fd int, b []byte) (n int, oob []byte, flags int, err error) {
	r.prepare(b)
	got, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.msg)), unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	return r.result(got, errno)
}

func (r *Receiver) prepare(b []byte) {
	r.iov.Base = unsafe.SliceData(b)
	r.iov.SetLen(len(b))
	r.msg.Iov = &r.iov
	r.msg.SetIovlen(1)
	r.msg.Control = unsafe.SliceData(r.oob)
	r.msg.SetControllen(len(r.oob))
	r.msg.Flags = 0
}

func (r *Receiver) result(n uintptr, errno syscall.Errno) (int, []byte, int, error) {
	r.iov.Base = nil // b is the caller's again
	if errno != 0 {
		return 0, nil, 0, errno
	}
	received()
	return int(n), r.oob[:r.msg.Controllen], int(r.msg.Flags), nil
}
