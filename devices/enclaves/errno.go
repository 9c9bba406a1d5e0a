package enclaves

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
)

// What commands are refused with. Real values are not documented; each errno
// here has one meaning, and where the Linux driver or its documentation uses an
// errno for the same thing, it is that one. README.md has the table.
const (
	errInvalid  = syscall.EINVAL     // no such command, or a value that is never right
	errNoSlot   = syscall.ENOENT     // no such slot, no enclave with that CID
	errTaken    = syscall.EEXIST     // memory or CPU that a slot has already
	errBusy     = syscall.EBUSY      // while its enclave, or another command, runs
	errState    = syscall.EPERM      // a slot in this state never does that
	errFull     = syscall.ENOSPC     // no slot, region or CPU left
	errMemory   = syscall.ENOMEM     // too little memory to start
	errCIDTaken = syscall.EADDRINUSE // another enclave has that CID
)

// Errno is how an error of a [Hypervisor] is reported to the driver: the errno
// that it wraps; else by kind ETIMEDOUT, ECANCELED (contexts), EINVAL, EPERM,
// EEXIST, ENOENT (errors of io/fs); else EIO. It is 0 for nil only.
func Errno(err error) syscall.Errno {
	var e syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e) && e > 0 && e <= maxErrno:
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return syscall.ETIMEDOUT
	case errors.Is(err, context.Canceled):
		return syscall.ECANCELED
	case errors.Is(err, fs.ErrInvalid):
		return syscall.EINVAL
	case errors.Is(err, fs.ErrPermission):
		return syscall.EPERM
	case errors.Is(err, fs.ErrExist):
		return syscall.EEXIST
	case errors.Is(err, fs.ErrNotExist):
		return syscall.ENOENT
	}
	return syscall.EIO
}

// maxErrno is the highest errno of Linux (MAX_ERRNO); a driver takes anything
// beyond for a pointer.
const maxErrno = 4095

// failure is the reply to a command that failed with err.
func failure(err error) Reply { return Reply{RC: -int32(Errno(err))} }
