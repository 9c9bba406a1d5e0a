package guestmem

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// A Region describes one range of guest RAM to be mapped from a file, as in
// one entry of a vhost-user SET_MEM_TABLE.
type Region struct {
	GPA    uint64 // guest-physical address of the first byte
	User   uint64 // address of the first byte in the front-end
	Size   uint64 // bytes
	Offset uint64 // of the first byte in the file; need not be page-aligned
	FD     int    // read-write; Map does not close it
}

// Errors of a region, inside a [*RegionError].
var (
	// ErrRange means that the region is empty or wraps around.
	ErrRange = errors.New("empty or wraps around")

	// ErrFileSize means that the file ends before the region does. Touching
	// memory beyond the end of a file is a fatal SIGBUS.
	ErrFileSize = errors.New("file is smaller than the region")

	// ErrUnsealed means that the file could shrink after it was mapped, with
	// the same effect as ErrFileSize.
	ErrUnsealed = errors.New("file is not sealed against shrinking (F_SEAL_SHRINK)")
)

// Options change how Map treats regions. The zero value is the strict way.
type Options struct {
	// AllowUnsealed accepts files without F_SEAL_SHRINK, such as those of
	// QEMU's memory-backend-file. Whoever may truncate such a file can end
	// this process by SIGBUS. QEMU's memory-backend-memfd seals by default.
	AllowUnsealed bool
}

// Map maps regions shared and writable and returns their table. Regions may
// come in any order and share files.
//
// Errors: a [*RegionError] for a region that is refused, an [*OverlapError]
// for two that overlap in either address space, or that there are none or more
// than [MaxRegions]. Nothing stays mapped then.
func Map(regions []Region, opt Options) (_ *Memory, err error) {
	if len(regions) == 0 || len(regions) > MaxRegions {
		return nil, fmt.Errorf("memory table: %d regions, want 1 to %d", len(regions), MaxRegions)
	}
	m := &Memory{}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	for i, r := range regions {
		if err := m.add(r, opt); err != nil {
			return nil, &RegionError{Index: i, GPA: r.GPA, Size: r.Size, Err: err}
		}
	}
	if err := overlapping(m.regions); err != nil {
		return nil, err
	}
	return m, nil
}

// add maps one region. On error nothing was mapped.
func (m *Memory) add(r Region, opt Options) error {
	const limit = math.MaxInt64
	if r.Size == 0 || r.Size > limit || r.Offset > limit-r.Size ||
		r.GPA > math.MaxUint64-r.Size || r.User > math.MaxUint64-r.Size {
		return ErrRange
	}
	align, err := checkFile(r, opt)
	if err != nil {
		return err
	}
	// A mapping begins and ends at a page of the file, huge pages included;
	// the region is cut out of it.
	skip := r.Offset & (align - 1)
	length := (skip + r.Size + align - 1) &^ (align - 1)
	if length > limit {
		return ErrRange
	}
	b, err := unix.Mmap(r.FD, int64(r.Offset-skip), int(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	end := skip + r.Size
	m.mappings = append(m.mappings, b)
	m.regions = append(m.regions, region{gpa: r.GPA, user: r.User, mem: b[skip:end:end]})
	return nil
}

// checkFile checks that the file of r holds the whole region and keeps doing
// so, and returns the alignment its mappings need.
func checkFile(r Region, opt Options) (align uint64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(r.FD, &st); err != nil {
		return 0, fmt.Errorf("fstat: %w", err)
	}
	if st.Size < 0 || r.Offset+r.Size > uint64(st.Size) {
		return 0, fmt.Errorf("%w: %#x bytes, want %#x", ErrFileSize, st.Size, r.Offset+r.Size)
	}
	if !opt.AllowUnsealed {
		if err := checkSeal(r.FD); err != nil {
			return 0, err
		}
	}
	// hugetlbfs reports its page size as block size, and insists on it for
	// offset and length of a mapping.
	align = uint64(os.Getpagesize())
	if b := uint64(st.Blksize); b > align && b <= 1<<30 && b&(b-1) == 0 {
		align = b
	}
	return align, nil
}

// checkSeal checks that the file can never shrink.
func checkSeal(fd int) error {
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_SHRINK == 0 {
		return ErrUnsealed
	}
	return nil
}

// Close unmaps everything. The caller has made sure that nobody uses a slice
// of m any more. Afterwards no address is mapped; Close again does nothing.
func (m *Memory) Close() error {
	var errs []error
	for _, b := range m.mappings {
		if err := unix.Munmap(b); err != nil {
			errs = append(errs, fmt.Errorf("munmap guest memory: %w", err))
		}
	}
	m.mappings, m.regions = nil, nil
	return errors.Join(errs...)
}
