package guestmem

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestWindowMapRefused(t *testing.T) {
	fd := memfd(t, 0x10000, seal)
	unsealed := memfd(t, 0x10000, 0)
	dup := fmt.Sprintf("/proc/self/fd/%d", fd)
	readOnly, err := unix.Open(dup, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(readOnly)
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(event)
	closed, err := unix.Dup(event)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(closed)
	old := rw(0x4000, 0x2000, 0x4000, fd)
	tests := []struct {
		name string
		m    Mapping
		want error
	}{
		{"empty", rw(0x1000, 0, 0, fd), ErrRange},
		{"wraps around", rw(math.MaxUint64, 2, 0, fd), ErrRange},
		{"up to the end, no memory", Mapping{IOVA: 1, Size: math.MaxUint64, FD: -1, Read: true}, nil},
		{"offset wraps around", rw(0x10000, 0x1000, math.MaxUint64, fd), ErrRange},
		{"offset and size wrap around", rw(0, math.MaxInt64, math.MaxInt64, fd), ErrRange},
		{"larger than file", rw(0x10000, 0x1000, 0xf001, fd), ErrFileSize},
		{"giant", rw(0x10000, math.MaxInt64, 0, fd), ErrFileSize},
		{"unsealed", rw(0x10000, 0x1000, 0, unsealed), ErrUnsealed},
		{"eventfd", rw(0x10000, 0x1000, 0, event), ErrFileSize},
		{"closed descriptor", rw(0x10000, 0x1000, 0, closed), unix.EBADF},
		{"overlap below", rw(0x3fff, 2, 0x3fff, fd), &OverlapError{Space: Bus, Addr: 0x4000}},
		{"overlap above", rw(0x5fff, 2, 0x5fff, fd), &OverlapError{Space: Bus, Addr: 0x5fff}},
		{"overlap around", rw(0, 0x10000, 0, fd), &OverlapError{Space: Bus, Addr: 0x4000}},
		{"inside, other offset", rw(0x4000, 0x1000, 0x5000, fd), &OverlapError{Space: Bus, Addr: 0x4000}},
		{"inside, other permission", Mapping{IOVA: 0x4000, Size: 0x2000, Offset: 0x4000, FD: fd, Read: true}, &OverlapError{Space: Bus, Addr: 0x4000}},
		{"inside, no memory", Mapping{IOVA: 0x4000, Size: 0x2000, FD: -1, Read: true, Write: true}, &OverlapError{Space: Bus, Addr: 0x4000}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWindow(t, old)
			if tt.want == nil {
				w.UnmapAll()
				if err := w.Map(tt.m); err != nil {
					t.Error(err)
				}
				return
			}
			err := w.Map(tt.m)
			var oe *OverlapError
			if errors.As(tt.want, new(*OverlapError)) {
				if !errors.As(err, &oe) || cmp.Diff(tt.want, error(oe)) != "" {
					t.Errorf("Map = %v, want %v", err, tt.want)
				}
			} else if !errors.Is(err, tt.want) {
				t.Errorf("Map = %v, want %v", err, tt.want)
			}
			if diff := cmp.Diff([]string{"4000-5fff rw @4000"}, ranges(w)); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
			checkFiles(t, w)
		})
	}
	if n := mappings(t); n != 0 {
		t.Errorf("%d mappings left behind", n)
	}
	t.Run("read-only descriptor", func(t *testing.T) {
		w := newWindow(t)
		if err := w.Map(rw(0, 0x1000, 0, readOnly)); !errors.Is(err, unix.EACCES) {
			t.Errorf("Map for writing = %v, want EACCES", err)
		}
		if n := mappings(t); n != 0 {
			t.Errorf("%d mappings left behind", n)
		}
		m := rw(0, 0x1000, 0x2000, readOnly)
		m.Write = false
		b := make([]byte, 1)
		if err := errors.Join(w.Map(m), w.Read(0, b)); err != nil || b[0] != 0x20 {
			t.Errorf("read %#x, %v", b[0], err)
		}
		if err := w.Map(rw(0x1000, 0x1000, 0, fd)); err != nil { // the same file, now writable
			t.Error(err)
		}
		if err := w.Write(0x1000, b); err != nil {
			t.Error(err)
		}
	})
	t.Run("unsealed on demand", func(t *testing.T) {
		m := rw(0, 0x1000, 0, unsealed)
		m.AllowUnsealed = true
		if err := newWindow(t).Map(m); err != nil {
			t.Error(err)
		}
	})
	t.Run("closed window", func(t *testing.T) {
		w := newWindow(t, old)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := w.Map(old); !errors.Is(err, ErrClosed) {
			t.Errorf("Map = %v, want ErrClosed", err)
		}
		var ae *AddressError
		if err := w.Read(0x4000, make([]byte, 1)); !errors.As(err, &ae) {
			t.Errorf("Read = %v, want an AddressError", err)
		}
	})
}

// TestWindowFiles: one mapping for a file however often it comes, none left at the
// end, and a bound on their number.
func TestWindowFiles(t *testing.T) {
	fd := memfd(t, 0x100000, unix.F_SEAL_SHRINK)
	w := newWindow(t)
	for i := range uint64(64) {
		again, err := unix.Dup(fd)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Map(rw(i*0x2000, 0x1000, i*0x1000, again)); err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(again) // the mapping does not need it
	}
	if n := mappings(t); n != 1 {
		t.Errorf("%d mappings of one file", n)
	}
	if err := w.Map(rw(0, 0x1000, 0, memfd(t, 0x1000, seal))); err == nil {
		t.Error("mapped what overlaps")
	}
	if n := mappings(t); n != 1 {
		t.Errorf("%d mappings, one of a file that was refused", n)
	}
	w.UnmapAll()
	if n := mappings(t); n != 1 {
		t.Errorf("%d mappings of an idle file, want it kept", n)
	}
	// A file that grew is mapped anew, and the old mapping goes in time.
	if err := w.Map(rw(0, 0x1000, 0, fd)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(fd, 0x200000); err != nil {
		t.Fatal(err)
	}
	if err := w.Map(rw(0x1000, 0x1000, 0x1ff000, fd)); err != nil {
		t.Fatal(err)
	}
	if err := w.Read(0x1000, make([]byte, 0x1000)); err != nil {
		t.Error(err)
	}
	w.UnmapAll()
	for i := range 10 {
		if err := w.Map(rw(uint64(i)<<32, 0x1000, 0, memfd(t, 0x1000, seal))); err != nil {
			t.Fatal(err)
		}
		w.UnmapAll()
		if n := mappings(t); n > maxIdle {
			t.Errorf("%d idle files stay mapped, want at most %d", n, maxIdle)
		}
	}
	var err error
	mapped := 0
	for i := 0; err == nil && i < 2*MaxFiles; i++ {
		if err = w.Map(rw(uint64(i)<<32, 0x1000, 0, memfd(t, 0x1000, seal))); err == nil {
			mapped++
		}
	}
	if !errors.Is(err, ErrTooMany) || mapped < MaxFiles-maxIdle || mapped > MaxFiles {
		t.Errorf("%d files mapped, then %v", mapped, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n := mappings(t); n != 0 {
		t.Errorf("%d mappings after Close", n)
	}
}

// TestWindowFull: the table is bounded, for unmapping as well.
func TestWindowFull(t *testing.T) {
	w := newWindow(t)
	for i := range uint64(MaxMappings) {
		if err := w.Map(Mapping{IOVA: i << 13, Size: 0x1000, FD: -1, Read: true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Map(Mapping{IOVA: 1 << 50, Size: 0x1000, FD: -1}); !errors.Is(err, ErrTooMany) {
		t.Errorf("Map = %v, want ErrTooMany", err)
	}
	if err := w.Map(Mapping{IOVA: 0x1000, Size: 0x1000, FD: -1, Read: true}); err != nil {
		t.Errorf("a mapping that makes one of two: %v", err)
	}
	if err := w.Map(Mapping{IOVA: 1 << 50, Size: 0x1000, FD: -1}); err != nil {
		t.Error(err)
	}
	if err := w.Unmap(0x800, 0x100); !errors.Is(err, ErrTooMany) {
		t.Errorf("Unmap from the middle = %v, want ErrTooMany", err)
	}
	if n := len(w.table); n != MaxMappings {
		t.Errorf("%d mappings, want %d", n, MaxMappings)
	}
	if diff := cmp.Diff([]string{"0-7ff r", "4000-4fff r"}, ranges(w)[:2]); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
