package guestmem

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// RAM is all memory of one machine as its hypervisor has it: a file that the
// machine runs on. Devices never get one; they reach what the guest maps for them.
//
// Methods take guest-physical addresses. They read and write the file, not a
// mapping, so that nothing the guest does can raise a signal here. Two guests or
// goroutines that touch the same bytes at once see either.
type RAM struct {
	file *os.File
	size uint64 // bytes of the file
	low  uint64 // how many of them lie below 4 GiB
}

// Layout of a PC's memory: what does not fit below the hole for devices goes on at
// 4 GiB. Between the first 640 KiB and 1 MiB lie devices and ROM.
const (
	highRAM    = 4 << 30
	legacyHole = 0xa0000
	legacyEnd  = 0x100000
)

// Q35Low is how much of a RAM of size bytes QEMU's q35 puts below 4 GiB
// (hw/i386/pc_q35.c, pc_q35_init).
func Q35Low(size uint64) uint64 {
	if size >= 0xb0000000 {
		return 0x80000000
	}
	return size
}

// NewRAM makes the memory of a machine, all zero. size is in bytes, a multiple of
// the page size; low of them lie below 4 GiB. The file is sealed: its size can
// never change, so nobody who has it mapped can be killed by SIGBUS.
func NewRAM(size, low uint64) (_ *RAM, err error) {
	if size == 0 || size > math.MaxInt64 || size%uint64(os.Getpagesize()) != 0 || low > size || low > highRAM {
		return nil, fmt.Errorf("guest RAM of %#x bytes, %#x below 4 GiB: %w", size, low, ErrRange)
	}
	fd, err := unix.MemfdCreate("guest-ram", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("guest RAM: %w", os.NewSyscallError("memfd_create", err))
	}
	r := &RAM{file: os.NewFile(uintptr(fd), "guest-ram"), size: size, low: low}
	err = r.file.Truncate(int64(size))
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("guest RAM of %#x bytes: %w", size, err), r.Close())
	}
	return r, nil
}

// File is the memory as a file. RAM keeps owning it.
func (r *RAM) File() *os.File { return r.file }

// Dup is another descriptor of the file, for a process to inherit. The caller
// closes it.
func (r *RAM) Dup() (*os.File, error) {
	fd, err := unix.FcntlInt(r.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("guest RAM: %w", os.NewSyscallError("dup", err))
	}
	return os.NewFile(uintptr(fd), "guest-ram"), nil
}

// Size is in bytes.
func (r *RAM) Size() uint64 { return r.size }

// Close gives the file back. The memory lives on while others have it open.
func (r *RAM) Close() error { return r.file.Close() }

// Contains reports whether all size bytes at gpa are memory, in one piece.
func (r *RAM) Contains(gpa, size uint64) bool {
	_, err := r.offset(gpa, size)
	return err == nil
}

// offset is where in the file a range of addresses lies.
func (r *RAM) offset(gpa, size uint64) (int64, error) {
	end := gpa + size
	switch {
	case end < gpa:
	case gpa < legacyEnd && end > legacyHole && size > 0:
	case end <= r.low:
		return int64(gpa), nil
	case gpa >= highRAM && end-highRAM <= r.size-r.low:
		return int64(gpa - highRAM + r.low), nil
	}
	return 0, &AddressError{Space: GuestPhysical, Addr: gpa, Len: int(min(size, math.MaxInt))}
}

// ReadAt reads at a guest-physical address. A range that is not all memory is an
// [*AddressError], and nothing is read. It implements io.ReaderAt.
func (r *RAM) ReadAt(p []byte, gpa int64) (int, error) {
	off, err := r.offset(uint64(gpa), uint64(len(p)))
	if err != nil {
		return 0, err
	}
	return r.file.ReadAt(p, off)
}

// WriteAt writes at a guest-physical address, all or nothing as far as addresses
// go. It implements io.WriterAt.
func (r *RAM) WriteAt(p []byte, gpa int64) (int, error) {
	off, err := r.offset(uint64(gpa), uint64(len(p)))
	if err != nil {
		return 0, err
	}
	return r.file.WriteAt(p, off)
}

// Scrub makes the range read as zeros and gives its pages back to the host. The
// guest's mappings stay as they are: it reads zeros through them at once, and can
// write there again. (96 MiB in 9 to 14 ms; writing zeros takes 14 to 49.)
func (r *RAM) Scrub(gpa, size uint64) error {
	off, err := r.offset(gpa, size)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(r.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, int64(size))
	if err != nil {
		return fmt.Errorf("scrub guest RAM %#x+%#x: %w", gpa, size, os.NewSyscallError("fallocate", err))
	}
	return nil
}

// searchWindow is how much of the file is searched at once.
const searchWindow = 1 << 20

// Find calls found with each place in the file, not the address, at which pattern
// lies, as long as it returns true. Pages that were never touched are skipped.
// pattern has 1 byte to 64 KiB and is not all zeros.
func (r *RAM) Find(pattern []byte, found func(offset int64) bool) error {
	if n := len(pattern); n == 0 || n > 1<<16 || bytes.Count(pattern, []byte{0}) == n {
		return fmt.Errorf("find in guest RAM: a pattern of %d bytes: %w", n, ErrRange)
	}
	buf := make([]byte, searchWindow+len(pattern)-1)
	for at := int64(0); ; {
		start, err := unix.Seek(int(r.file.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // holes up to the end
		}
		if err != nil {
			return fmt.Errorf("find in guest RAM: %w", os.NewSyscallError("lseek", err))
		}
		n, err := r.file.ReadAt(buf, start)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("find in guest RAM: %w", err)
		}
		for from := 0; ; {
			i := bytes.Index(buf[from:n], pattern)
			if i < 0 {
				break
			}
			if !found(start + int64(from+i)) {
				return nil
			}
			from += i + 1
		}
		at = start + searchWindow
		if uint64(at) >= r.size {
			return nil
		}
	}
}
