package guestmem

import (
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// memfd returns a file of size bytes, sealed against shrinking like QEMU's. The
// byte at offset o is o/256.
func memfd(t *testing.T, size int, seals int) int {
	t.Helper()
	fd, err := unix.MemfdCreate("guestmem-test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i >> 8)
	}
	if _, err := unix.Pwrite(fd, content, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		t.Fatal(err)
	}
	return fd
}

// mappings counts what this process has mapped of memfd's files.
func mappings(t *testing.T) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(maps), "guestmem-test")
}

func TestMap(t *testing.T) {
	fd := memfd(t, 0x10000, unix.F_SEAL_SHRINK)
	m, err := Map([]Region{
		{GPA: 0x100000, User: 0x7f0000, Size: 0x4000, Offset: 0x8000, FD: fd},
		{GPA: 0, User: 0x7f8000, Size: 0x1800, Offset: 0x1234, FD: fd}, // not page-aligned
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		gpa  uint64
		want byte
	}{{0, 0x12}, {0x17ff, 0x2a}, {0x100000, 0x80}, {0x103fff, 0xbf}} {
		b, err := m.Slice(tt.gpa, 1)
		if err != nil || b[0] != tt.want {
			t.Errorf("Slice(%#x) = %x, %v; want %#x", tt.gpa, b, err, tt.want)
		}
	}
	// It is the file, not a copy.
	b, err := m.UserSlice(0x7f0001, 1)
	if err != nil {
		t.Fatal(err)
	}
	b[0] = 0xee
	got := make([]byte, 1)
	if _, err := unix.Pread(fd, got, 0x8001); err != nil || got[0] != 0xee {
		t.Errorf("file has %#x, %v; want 0xee", got[0], err)
	}
	if got := mappings(t); got != 2 {
		t.Errorf("%d mappings, want 2", got)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := mappings(t); got != 0 {
		t.Errorf("%d mappings after Close", got)
	}
	if b, err := m.Slice(0x100000, 1); err == nil {
		t.Errorf("Slice after Close = %d bytes", len(b))
	}
}

func TestMapRefuses(t *testing.T) {
	fd := memfd(t, 0x4000, unix.F_SEAL_SHRINK)
	unsealed := memfd(t, 0x4000, unix.F_SEAL_GROW)
	readOnly, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(readOnly) })
	good := Region{GPA: 0x1000, User: 0x9000, Size: 0x1000, FD: fd}
	with := func(f func(*Region)) []Region {
		r := good
		r.GPA, r.User = 0x10000, 0x20000
		f(&r)
		return []Region{good, r}
	}
	many := make([]Region, MaxRegions+1)
	for i := range many {
		many[i] = Region{GPA: uint64(i) << 16, User: uint64(i) << 16, Size: 0x1000, FD: fd}
	}
	if m, err := Map(many[:MaxRegions], Options{}); err != nil {
		t.Errorf("%d regions: %v", MaxRegions, err)
	} else if err := m.Close(); err != nil {
		t.Error(err)
	}

	tests := []struct {
		name    string
		regions []Region
		want    error // nil: any
		overlap AddressSpace
	}{
		{"no region", nil, nil, ""},
		{"too many regions", many, nil, ""},
		{"empty", with(func(r *Region) { r.Size = 0 }), ErrRange, ""},
		{"guest address wraps", with(func(r *Region) { r.GPA = math.MaxUint64 - 0xffe }), ErrRange, ""},
		{"user address wraps", with(func(r *Region) { r.User = math.MaxUint64 - 0xffe }), ErrRange, ""},
		{"file offset wraps", with(func(r *Region) { r.Offset = math.MaxUint64 - 0xffe }), ErrRange, ""},
		{"file offset negative", with(func(r *Region) { r.Offset = 1 << 63 }), ErrRange, ""},
		{"huge", with(func(r *Region) { r.Size = math.MaxUint64 }), ErrRange, ""},
		{"huge but positive", with(func(r *Region) { r.Size = math.MaxInt64 }), ErrFileSize, ""},
		{"one byte beyond the file", with(func(r *Region) { r.Offset = 0x3001 }), ErrFileSize, ""},
		{"beyond the file", with(func(r *Region) { r.Offset = 0x100000 }), ErrFileSize, ""},
		{"file may shrink", with(func(r *Region) { r.FD = unsealed }), ErrUnsealed, ""},
		{"not a memfd", with(func(r *Region) { r.FD = readOnly }), ErrUnsealed, ""},
		{"no file", with(func(r *Region) { r.FD = -1 }), unix.EBADF, ""},
		{"guest addresses overlap", with(func(r *Region) { r.GPA = good.GPA + 0xfff }), nil, GuestPhysical},
		{"same guest address", with(func(r *Region) { r.GPA = good.GPA }), nil, GuestPhysical},
		{"user addresses overlap", with(func(r *Region) { r.User = good.User - 0xfff }), nil, FrontEnd},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Map(tt.regions, Options{})
			if err == nil {
				_ = m.Close()
				t.Fatal("accepted")
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			var re *RegionError
			if tt.want != nil && (!errors.As(err, &re) || re.Index != 1) {
				t.Errorf("error %v, want a RegionError of region 1", err)
			}
			var oe *OverlapError
			if tt.overlap != "" && (!errors.As(err, &oe) || oe.Space != tt.overlap) {
				t.Errorf("error %v, want an OverlapError of %s addresses", err, tt.overlap)
			}
			if got := mappings(t); got != 0 {
				t.Errorf("%d mappings left", got)
			}
		})
	}
	t.Run("unsealed if asked for", func(t *testing.T) {
		m, err := Map(with(func(r *Region) { r.FD = unsealed }), Options{AllowUnsealed: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("read-only file", func(t *testing.T) {
		r := Region{Size: 0x1000, FD: readOnly}
		if m, err := Map([]Region{r}, Options{AllowUnsealed: true}); !errors.Is(err, unix.EACCES) {
			t.Errorf("Map = %v, %v; want EACCES", m, err)
		}
	})
}
