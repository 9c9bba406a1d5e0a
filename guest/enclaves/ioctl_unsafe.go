package enclaves

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The requests, magic 0xAE, of uapi/linux/nitro_enclaves.h.
const (
	neCreateVM            = 0x8008AE20 // _IOR, u64
	neAddVCPU             = 0xC004AE21 // _IOWR, u32
	neGetImageLoadInfo    = 0xC010AE22 // _IOWR, struct ne_image_load_info
	neSetUserMemoryRegion = 0x4018AE23 // _IOW, struct ne_user_memory_region
	neStartEnclave        = 0xC010AE24 // _IOWR, struct ne_enclave_start_info
)

type imageLoadInfo struct{ flags, memoryOffset uint64 }

type userMemoryRegion struct{ flags, memorySize, userspaceAddr uint64 }

type enclaveStartInfo struct{ flags, enclaveCID uint64 }

// The size is part of the request number.
var (
	_ [neGetImageLoadInfo >> 16 & 0x3fff]byte    = [unsafe.Sizeof(imageLoadInfo{})]byte{}
	_ [neSetUserMemoryRegion >> 16 & 0x3fff]byte = [unsafe.Sizeof(userMemoryRegion{})]byte{}
	_ [neStartEnclave >> 16 & 0x3fff]byte        = [unsafe.Sizeof(enclaveStartInfo{})]byte{}
)

// ioctlCreateVM returns the enclave's descriptor, which the driver opens with
// close-on-exec (get_unused_fd_flags in ne_misc_dev.c).
func ioctlCreateVM(fd uintptr, slot *uint64) (int, error) {
	return ioctl(fd, neCreateVM, unsafe.Pointer(slot))
}

func ioctlAddVCPU(fd uintptr, id *uint32) error {
	_, err := ioctl(fd, neAddVCPU, unsafe.Pointer(id))
	return err
}

func ioctlImageLoadInfo(fd uintptr, info *imageLoadInfo) error {
	_, err := ioctl(fd, neGetImageLoadInfo, unsafe.Pointer(info))
	return err
}

func ioctlSetUserMemoryRegion(fd uintptr, r *userMemoryRegion) error {
	_, err := ioctl(fd, neSetUserMemoryRegion, unsafe.Pointer(r))
	return err
}

func ioctlStartEnclave(fd uintptr, info *enclaveStartInfo) error {
	_, err := ioctl(fd, neStartEnclave, unsafe.Pointer(info))
	return err
}

// ioctl does one request and returns what it returned, or the driver's error.
// Requests are not repeated after a signal: the driver waits uninterruptibly.
//
// Preconditions: arg points to what the request's number says.
func ioctl(fd, request uintptr, arg unsafe.Pointer) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(arg))
	if errno != 0 {
		return 0, driverError(errno)
	}
	return int(r), nil
}
