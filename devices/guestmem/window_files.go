package guestmem

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// maxIdle is how many files stay mapped that no range of a Window uses. All of RAM
// is usually one file, which is idle for a moment at each change of the layout.
const maxIdle = 2

// A file is one file, mapped as a whole.
type file struct {
	dev, ino uint64
	writable bool
	mem      []byte
	ranges   int // entries of the table that use it
}

// use counts n more ranges. A nil file has none to count.
func (f *file) use(n int) {
	if f != nil {
		f.ranges += n
	}
}

// files are the files of a Window. A file that grew is mapped a second time: the
// first mapping goes with its ranges.
type files []*file

// open returns the file of m, and whether it was mapped only now. It is nil if m
// has none.
func (l *files) open(m Mapping) (_ *file, fresh bool, err error) {
	if m.FD < 0 {
		return nil, false, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(m.FD, &st); err != nil {
		return nil, false, fmt.Errorf("fstat: %w", err)
	}
	end := m.Offset + m.Size // check made sure that it does not wrap around
	if st.Size < 0 || end > uint64(st.Size) {
		return nil, false, fmt.Errorf("%w: %#x bytes, want %#x", ErrFileSize, st.Size, end)
	}
	for _, f := range *l {
		if f.dev == st.Dev && f.ino == st.Ino && end <= uint64(len(f.mem)) && (f.writable || !m.Write) {
			return f, false, nil
		}
	}
	if len(*l) >= MaxFiles {
		return nil, false, fmt.Errorf("%w: %d files", ErrTooMany, len(*l))
	}
	if !m.AllowUnsealed {
		if err := checkSeal(m.FD); err != nil {
			return nil, false, err
		}
	}
	f := &file{dev: st.Dev, ino: st.Ino}
	if f.mem, f.writable, err = mapWhole(m.FD, st.Size); err != nil {
		return nil, false, err
	}
	if m.Write && !f.writable {
		return nil, false, errors.Join(fmt.Errorf("mmap: %w: file is open for reading only", unix.EACCES), unix.Munmap(f.mem))
	}
	*l = append(*l, f)
	return f, true, nil
}

// mapWhole maps size bytes of a file, for writing too if it is open for that.
func mapWhole(fd int, size int64) (mem []byte, writable bool, err error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return nil, false, fmt.Errorf("fcntl: %w", err)
	}
	prot := unix.PROT_READ
	if writable = flags&unix.O_ACCMODE == unix.O_RDWR; writable {
		prot |= unix.PROT_WRITE
	}
	if size == 0 || size > math.MaxInt64-1<<30 {
		return nil, false, ErrRange
	}
	mem, err = unix.Mmap(fd, 0, int(size), prot, unix.MAP_SHARED)
	if err != nil {
		return nil, false, fmt.Errorf("mmap: %w", err)
	}
	return mem, writable, nil
}

// drop unmaps a file without ranges.
func (l *files) drop(f *file) error {
	*l = slices.DeleteFunc(*l, func(g *file) bool { return g == f })
	if err := unix.Munmap(f.mem); err != nil {
		return fmt.Errorf("munmap guest memory: %w", err)
	}
	return nil
}

// trim unmaps idle files but the last few. No access is running to them.
func (l *files) trim() {
	idle := 0
	for i := len(*l) - 1; i >= 0; i-- {
		if f := (*l)[i]; f.ranges > 0 {
			continue
		} else if idle++; idle > maxIdle {
			_ = l.drop(f) // it was mapped there, so this cannot fail
		}
	}
}

// close unmaps all of them. No access is running.
func (l *files) close() error {
	var errs []error
	for _, f := range *l {
		if err := unix.Munmap(f.mem); err != nil {
			errs = append(errs, fmt.Errorf("munmap guest memory: %w", err))
		}
	}
	*l = nil
	return errors.Join(errs...)
}
