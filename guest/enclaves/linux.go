package enclaves

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Linux is the kernel this program runs on.
type Linux struct {
	// Path is the driver's file; empty for [DevicePath].
	Path string
}

var _ System = Linux{}

// OpenDevice opens the driver's file for reading and writing.
func (l Linux) OpenDevice() (Device, error) {
	f, err := os.OpenFile(cmp.Or(l.Path, DevicePath), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return device{f}, nil
}

// MapPage maps one page of the hugetlb pool, private and without a file, as
// nitro-cli does: the driver takes nothing that is not hugetlb memory.
func (Linux) MapPage(size uint64) (*Page, error) {
	if bits.OnesCount64(size) != 1 || size > 1<<62 {
		return nil, fmt.Errorf("map huge page of %d bytes: %w", size, syscall.EINVAL)
	}
	// The kernel takes the logarithm of the size behind the flags (mmap(2)).
	flags := unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_HUGETLB | bits.TrailingZeros64(size)<<unix.MAP_HUGE_SHIFT
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, fmt.Errorf("map huge page of %d MiB: %w", size>>20, err)
	}
	return NewPage(b, addressOf(b), func() error {
		if err := unix.Munmap(b); err != nil {
			return fmt.Errorf("unmap huge page of %d MiB: %w", size>>20, err)
		}
		return nil
	}), nil
}

// device is the driver's file.
type device struct{ file *os.File }

func (d device) Close() error { return d.file.Close() }

func (d device) CreateVM() (VM, error) {
	var slot uint64
	var fd int
	err := control(d.file, "NE_CREATE_VM", "", func(f uintptr) (err error) {
		fd, err = ioctlCreateVM(f, &slot)
		return err
	})
	if err != nil {
		return nil, err
	}
	return newVM(fd, slot)
}

// newVM takes over the descriptor fd. Non-blocking, so that the runtime's poller
// waits for its end.
func newVM(fd int, slot uint64) (*vm, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, &OpError{Op: "NE_CREATE_VM", Err: errors.Join(err, unix.Close(fd))}
	}
	return &vm{file: os.NewFile(uintptr(fd), "ne-vm"), slot: slot}, nil
}

// vm is an enclave's descriptor.
type vm struct {
	file *os.File
	slot uint64
}

func (v *vm) SlotUID() uint64 { return v.slot }

func (v *vm) Close() error {
	if err := v.file.Close(); err != nil {
		return fmt.Errorf("close enclave: %w", err)
	}
	return nil
}

func (v *vm) AddVCPU(id uint32) (uint32, error) {
	err := control(v.file, "NE_ADD_VCPU", "vCPU "+strconv.FormatUint(uint64(id), 10), func(f uintptr) error {
		return ioctlAddVCPU(f, &id)
	})
	return id, err
}

func (v *vm) ImageLoadInfo(flags uint64) (offset uint64, err error) {
	info := imageLoadInfo{flags: flags}
	err = control(v.file, "NE_GET_IMAGE_LOAD_INFO", "", func(f uintptr) error { return ioctlImageLoadInfo(f, &info) })
	return info.memoryOffset, err
}

func (v *vm) SetUserMemoryRegion(r MemoryRegion) error {
	return control(v.file, "NE_SET_USER_MEMORY_REGION", fmt.Sprintf("of %d MiB at %#x", r.Size>>20, r.Addr), func(f uintptr) error {
		return ioctlSetUserMemoryRegion(f, &userMemoryRegion{flags: r.Flags, memorySize: r.Size, userspaceAddr: r.Addr})
	})
}

func (v *vm) Start(s StartInfo) (StartInfo, error) {
	info := enclaveStartInfo{flags: s.Flags, enclaveCID: s.CID}
	err := control(v.file, "NE_START_ENCLAVE", "", func(f uintptr) error { return ioctlStartEnclave(f, &info) })
	return StartInfo{Flags: info.flags, CID: info.enclaveCID}, err
}

// control does one ioctl on f, whose descriptor stays open meanwhile.
func control(f *os.File, op, object string, ioctl func(fd uintptr) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return &OpError{Op: op, Object: object, Err: err}
	}
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = ioctl(fd) }); err != nil {
		return &OpError{Op: op, Object: object, Err: os.ErrClosed}
	}
	if failed != nil {
		return &OpError{Op: op, Object: object, Err: failed}
	}
	return nil
}
