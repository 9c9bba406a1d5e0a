package nsm

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctlRawRequest is NSM_IOCTL_RAW, _IOWR(0x0A, 0x00, struct nsm_raw), of
// include/uapi/linux/nsm.h; the 4.14 driver has the same number.
const ioctlRawRequest = 0xC0200A00

// nsmRaw is struct nsm_raw on 64-bit machines: two struct nsm_iovec.
type nsmRaw struct {
	requestAddr, requestLen   uint64
	responseAddr, responseLen uint64 // the driver sets the length to the reply's
}

// The size is part of the request number.
var _ [ioctlRawRequest >> 16 & 0x3fff]byte = [unsafe.Sizeof(nsmRaw{})]byte{}

// ioctlRaw sends one request and returns the length of the reply in resp. The
// error is the kernel's [syscall.Errno].
func ioctlRaw(fd uintptr, req, resp []byte) (int, error) {
	// The kernel gets addresses as numbers, which keep nothing alive and in
	// place.
	var pin runtime.Pinner
	defer pin.Unpin()
	raw := nsmRaw{requestLen: uint64(len(req)), responseLen: uint64(len(resp))}
	raw.requestAddr = address(&pin, req)
	raw.responseAddr = address(&pin, resp)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, ioctlRawRequest, uintptr(unsafe.Pointer(&raw))); errno != 0 {
		return 0, errno
	}
	if raw.responseLen > uint64(len(resp)) {
		return 0, fmt.Errorf("nsm driver: reply of %d bytes in a buffer of %d", raw.responseLen, len(resp))
	}
	return int(raw.responseLen), nil
}

// address pins b and is its address; 0 if b is empty.
func address(pin *runtime.Pinner, b []byte) uint64 {
	if len(b) == 0 {
		return 0
	}
	p := unsafe.SliceData(b)
	pin.Pin(p)
	return uint64(uintptr(unsafe.Pointer(p)))
}
