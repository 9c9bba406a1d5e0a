package guard

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// siginfoPid reads si_pid, which x/sys keeps in an opaque union. On every 64-bit
// Linux it is the first member of the union, which is aligned to 8 bytes and
// follows three ints: si_signo, si_errno, si_code (asm-generic/siginfo.h).
func siginfoPid(info *unix.Siginfo) int {
	const union = 16
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), union)))
}
