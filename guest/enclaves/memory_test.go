package enclaves_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/guest/enclaves"
	"github.com/nitrolab/nitrolab/guest/enclaves/enclavestest"
)

const mib = 1 << 20

func TestAllocate(t *testing.T) {
	tests := []struct {
		name      string
		free      map[uint64]int
		size      uint64
		want      []uint64 // sizes of the pages
		missing   uint64   // of an InsufficientMemoryError
		remaining map[uint64]int
	}{
		{
			name: "small pages", free: map[uint64]int{2 * mib: 40}, size: 64 * mib,
			want: repeat(2*mib, 32), remaining: map[uint64]int{2 * mib: 8},
		},
		{
			name: "rounded up", free: map[uint64]int{2 * mib: 3}, size: 3 * mib,
			want: repeat(2*mib, 2), remaining: map[uint64]int{2 * mib: 1},
		},
		{
			name: "large page that fits goes first", free: map[uint64]int{2 * mib: 8, 32 * mib: 1}, size: 40 * mib,
			want: append([]uint64{32 * mib}, repeat(2*mib, 4)...), remaining: map[uint64]int{2 * mib: 4, 32 * mib: 0},
		},
		{
			name: "exactly a large page", free: map[uint64]int{2 * mib: 16, 32 * mib: 1}, size: 32 * mib,
			want: []uint64{32 * mib}, remaining: map[uint64]int{2 * mib: 16, 32 * mib: 0},
		},
		{
			name: "large page that does not fit is left", free: map[uint64]int{2 * mib: 8, 32 * mib: 1}, size: 16 * mib,
			want: repeat(2*mib, 8), remaining: map[uint64]int{2 * mib: 0, 32 * mib: 1},
		},
		{
			// The small pages turn out not to be needed.
			name: "large page where small ones end", free: map[uint64]int{2 * mib: 2, 32 * mib: 1}, size: 16 * mib,
			want: []uint64{32 * mib}, remaining: map[uint64]int{2 * mib: 2, 32 * mib: 0},
		},
		{
			name: "only a large page", free: map[uint64]int{32 * mib: 1}, size: 1 * mib,
			want: []uint64{32 * mib}, remaining: map[uint64]int{32 * mib: 0},
		},
		{
			name: "too few", free: map[uint64]int{2 * mib: 4, 16 * mib: 1}, size: 64 * mib,
			missing: 40 * mib, remaining: map[uint64]int{2 * mib: 4, 16 * mib: 1},
		},
		{name: "none", size: 1, missing: 1, remaining: map[uint64]int{}},
		{
			name: "more than any machine has", free: map[uint64]int{2 * mib: 1}, size: 1 << 63,
			missing: 1<<63 - 2*mib, remaining: map[uint64]int{2 * mib: 1},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sys := enclavestest.New(enclavestest.Config{Pages: tt.free})
			m, err := enclaves.Allocate(sys, tt.size)
			if tt.missing != 0 {
				var few *enclaves.InsufficientMemoryError
				if !errors.As(err, &few) {
					t.Fatalf("error is %v, want an InsufficientMemoryError", err)
				}
				if want := (enclaves.InsufficientMemoryError{Requested: tt.size, Missing: tt.missing}); *few != want {
					t.Errorf("error is %+v, want %+v", *few, want)
				}
				if diff := cmp.Diff(tt.remaining, sys.FreePages()); diff != "" {
					t.Errorf("free pages (-want +got):\n%s", diff)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []uint64
			for _, r := range m.Regions() {
				got = append(got, r.Size)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("pages (-want +got):\n%s", diff)
			}
			if m.Size() < tt.size {
				t.Errorf("size is %d, want at least %d", m.Size(), tt.size)
			}
			if diff := cmp.Diff(tt.remaining, sys.FreePages()); diff != "" {
				t.Errorf("free pages (-want +got):\n%s", diff)
			}
			for range 2 {
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			}
			if diff := cmp.Diff(tt.free, sys.FreePages()); diff != "" {
				t.Errorf("free pages after Close (-want +got):\n%s", diff)
			}
		})
	}
}

func repeat(size uint64, n int) []uint64 {
	list := make([]uint64, n)
	for i := range list {
		list[i] = size
	}
	return list
}

func TestPageSizes(t *testing.T) {
	sizes := enclaves.PageSizes()
	for i, s := range sizes {
		if s%enclaves.RegionAlignment != 0 || s&(s-1) != 0 {
			t.Errorf("size %d is no power of two that the driver takes", s)
		}
		if i > 0 && s >= sizes[i-1] {
			t.Errorf("size %d comes behind %d", s, sizes[i-1])
		}
	}
}

func TestWriteImage(t *testing.T) {
	image := make([]byte, 5*mib)
	for i := range image {
		image[i] = byte(i>>12) ^ byte(i)
	}
	tests := []struct {
		name   string
		free   map[uint64]int
		memory uint64
		offset uint64
		size   int64
		err    error
	}{
		{name: "straddles pages", free: map[uint64]int{2 * mib: 8}, memory: 16 * mib, offset: 8 * mib, size: 5 * mib},
		{name: "begins inside a page", free: map[uint64]int{16 * mib: 1}, memory: 16 * mib, offset: 8 * mib, size: 5 * mib},
		{name: "begins and straddles", free: map[uint64]int{2 * mib: 8}, memory: 16 * mib, offset: 3*mib + 17, size: 5 * mib},
		{name: "fills the end", free: map[uint64]int{2 * mib: 4}, memory: 8 * mib, offset: 3 * mib, size: 5 * mib},
		{name: "empty", free: map[uint64]int{2 * mib: 4}, memory: 8 * mib, offset: 8 * mib, size: 0},
		{name: "a byte too large", free: map[uint64]int{2 * mib: 4}, memory: 8 * mib, offset: 3*mib + 1, size: 5 * mib, err: enclaves.ErrImageTooLarge},
		{name: "offset behind the end", free: map[uint64]int{2 * mib: 4}, memory: 8 * mib, offset: 9 * mib, size: 0, err: enclaves.ErrImageTooLarge},
		{name: "offset that overflows", free: map[uint64]int{2 * mib: 4}, memory: 8 * mib, offset: 1<<64 - 1, size: 5 * mib, err: enclaves.ErrImageTooLarge},
		{name: "negative size", free: map[uint64]int{2 * mib: 4}, memory: 8 * mib, size: -1, err: enclaves.ErrImageTooLarge},
		{name: "file that shrank", free: map[uint64]int{2 * mib: 8}, memory: 16 * mib, offset: 8 * mib, size: 5*mib + 1, err: io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sys := enclavestest.New(enclavestest.Config{Pool: []uint32{2, 3}, Pages: tt.free})
			m, err := enclaves.Allocate(sys, tt.memory)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if err := m.WriteImage(bytes.NewReader(image), tt.size, tt.offset); !errors.Is(err, tt.err) {
				t.Fatalf("error is %v, want %v", err, tt.err)
			}
			if tt.err != nil {
				return
			}
			vm := createVM(t, sys)
			if err := m.Donate(vm); err != nil {
				t.Fatal(err)
			}
			got := sys.Enclaves()[0].Memory()
			want := make([]byte, len(got))
			copy(want[tt.offset:], image[:tt.size])
			if !bytes.Equal(got, want) {
				t.Error("memory is not the image at its offset with zeros around it")
			}
		})
	}
}

func createVM(t *testing.T, sys enclaves.System) enclaves.VM {
	t.Helper()
	d, err := sys.OpenDevice()
	if err != nil {
		t.Fatal(err)
	}
	vm, err := d.CreateVM()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return vm
}

func TestDonateSaysWhichRegion(t *testing.T) {
	sys := enclavestest.New(enclavestest.Config{Pool: []uint32{2, 3}, Pages: map[uint64]int{2 * mib: 4}, MaxRegions: 2})
	m, err := enclaves.Allocate(sys, 8*mib)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	err = m.Donate(createVM(t, sys))
	if !errors.Is(err, enclaves.ErrMemMaxRegions) || !strings.Contains(err.Error(), "region 3 of 4") {
		t.Errorf("error is %v, want %v of region 3 of 4", err, enclaves.ErrMemMaxRegions)
	}
}
