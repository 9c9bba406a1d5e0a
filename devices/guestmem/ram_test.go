package guestmem

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const (
	mib = 1 << 20
	gib = 1 << 30
)

func newRAM(t *testing.T, size, low uint64) *RAM {
	t.Helper()
	r, err := NewRAM(size, low)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func TestQ35Low(t *testing.T) {
	for size, want := range map[uint64]uint64{
		512 * mib:           512 * mib,
		2*gib + 768*mib - 1: 2*gib + 768*mib - 1,
		2*gib + 768*mib:     2 * gib,
		8 * gib:             2 * gib,
	} {
		if got := Q35Low(size); got != want {
			t.Errorf("Q35Low(%#x) = %#x, want %#x", size, got, want)
		}
	}
}

func TestNewRAMRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ size, low uint64 }{
		"empty":              {0, 0},
		"not whole pages":    {mib + 1, mib + 1},
		"more low than all":  {mib, 2 * mib},
		"low over the hole":  {8 * gib, 5 * gib},
		"more than a file":   {1 << 63, gib},
		"wraps around":       {^uint64(0) - 4095, gib},
		"more than there is": {1 << 62, gib}, // tmpfs refuses
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := NewRAM(tt.size, tt.low); err == nil {
				_ = r.Close()
				if tt.size != 1<<62 { // some kernels promise anything
					t.Error("no error")
				}
			}
		})
	}
}

func TestRAMAddresses(t *testing.T) {
	r := newRAM(t, 6*mib, 4*mib)
	tests := []struct {
		name      string
		gpa, size uint64
		offset    int64 // -1: no memory
	}{
		{"first byte", 0, 1, 0},
		{"below the legacy hole", 0x9f000, 0x1000, 0x9f000},
		{"into the legacy hole", 0x9f000, 0x1001, -1},
		{"in the legacy hole", 0xb8000, 16, -1},
		{"over the legacy hole", 0, 2 * mib, -1},
		{"behind the legacy hole", mib, 3 * mib, mib},
		{"end of low memory", 4*mib - 1, 1, 4*mib - 1},
		{"over the end of low memory", 4*mib - 1, 2, -1},
		{"device hole", 4 * mib, 1, -1},
		{"over the device hole", 2 * mib, 4 * gib, -1},
		{"high memory", 4 * gib, 2 * mib, 4 * mib},
		{"over the end", 4 * gib, 2*mib + 1, -1},
		{"beyond the end", 4*gib + 2*mib, 1, -1},
		{"wraps around", ^uint64(0), 2, -1},
		{"all of it", 0, ^uint64(0), -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			off, err := r.offset(tt.gpa, tt.size)
			if r.Contains(tt.gpa, tt.size) != (tt.offset >= 0) {
				t.Errorf("Contains = %v", !(tt.offset >= 0))
			}
			var address *AddressError
			switch {
			case tt.offset < 0 && !errors.As(err, &address):
				t.Errorf("offset %#x, %v; want an AddressError", off, err)
			case tt.offset >= 0 && (err != nil || off != tt.offset):
				t.Errorf("offset %#x, %v; want %#x", off, err, tt.offset)
			}
		})
	}
}

func TestRAMScrub(t *testing.T) {
	r := newRAM(t, 6*mib, 4*mib)
	// The guest has it mapped, and sees what happens to the file.
	guest, err := unix.Mmap(int(r.File().Fd()), 0, 6*mib, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(guest)
	for i := range guest {
		guest[i] = 0xa5
	}
	got := make([]byte, 4)
	if _, err := r.ReadAt(got, 4*gib+8); err != nil || !bytes.Equal(got, []byte{0xa5, 0xa5, 0xa5, 0xa5}) {
		t.Fatalf("ReadAt = % x, %v", got, err)
	}
	if _, err := r.WriteAt([]byte("high"), 4*gib+8); err != nil || string(guest[4*mib+8:][:4]) != "high" {
		t.Fatalf("WriteAt: guest sees %q, %v", guest[4*mib+8:][:4], err)
	}
	// A whole huge page, for where the kernel has taken one.
	if err := r.Scrub(4*gib, 2*mib); err != nil {
		t.Fatal(err)
	}
	// Before the guest looks: that takes pages again.
	var st unix.Stat_t
	if err := unix.Fstat(int(r.File().Fd()), &st); err != nil || st.Blocks*512 > 4*mib {
		t.Errorf("the host still gives %d bytes to it, %v", st.Blocks*512, err)
	}
	if n := bytes.Count(guest, []byte{0}); n != 2*mib || guest[4*mib] != 0 || guest[6*mib-1] != 0 {
		t.Errorf("guest sees %d zeros, want %d", n, 2*mib)
	}
	if err := r.Scrub(4*mib-4096, 8192); err == nil {
		t.Error("Scrub over the end of low memory succeeds")
	}
	if guest[4*mib-1] != 0xa5 {
		t.Error("a refused Scrub changed memory")
	}
	if err := unix.Ftruncate(int(r.File().Fd()), mib); err == nil {
		t.Error("the file can shrink")
	}
}

func TestRAMFind(t *testing.T) {
	r := newRAM(t, 8*mib, 8*mib)
	want := []int64{0x2000, 0x2003, searchWindow + 0x1ffe, 2*searchWindow - 2 + 0x2000, 8*mib - 3}
	for _, at := range want {
		if _, err := r.File().WriteAt([]byte("aba"), at); err != nil {
			t.Fatal(err)
		}
	}
	var got []int64
	if err := r.Find([]byte("aba"), func(at int64) bool { got = append(got, at); return true }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	n := 0
	if err := r.Find([]byte("aba"), func(int64) bool { n++; return n < 2 }); err != nil || n != 2 {
		t.Errorf("stopped after %d, %v", n, err)
	}
	for _, bad := range [][]byte{nil, {0}, make([]byte, 100), bytes.Repeat([]byte{1}, 1<<16+1)} {
		if err := r.Find(bad, func(int64) bool { return true }); !errors.Is(err, ErrRange) {
			t.Errorf("Find of %d bytes = %v", len(bad), err)
		}
	}
}

func BenchmarkRAMScrub(b *testing.B) {
	r, err := NewRAM(96*mib, 96*mib)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	fill := bytes.Repeat([]byte{1}, 94*mib)
	b.SetBytes(int64(len(fill)))
	for b.Loop() {
		b.StopTimer()
		if _, err := r.WriteAt(fill, mib); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := r.Scrub(mib, uint64(len(fill))); err != nil {
			b.Fatal(err)
		}
	}
}
