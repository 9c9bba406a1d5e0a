package enclaves_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"
	"testing/iotest"

	"github.com/nitrolab/nitrolab/devices/enclaves"
)

// pattern is memory in which each 8 bytes differ: the byte at addr.
type pattern struct{ size int64 }

func (p pattern) at(addr uint64) byte {
	x := (addr >> 3) * 0x9e3779b97f4a7c15
	return byte(x>>(8*(addr&7))) ^ byte(addr)
}

func (p pattern) ReadAt(b []byte, off int64) (int, error) {
	for i := range b {
		if off+int64(i) >= p.size {
			return i, io.EOF
		}
		b[i] = p.at(uint64(off) + uint64(i))
	}
	return len(b), nil
}

func TestImageReader(t *testing.T) {
	mem := pattern{size: 1 << 40}
	two := func(addr uint64) enclaves.Region { return enclaves.Region{Addr: addr, Size: 2 * mib} }
	for _, tt := range []struct {
		name    string
		regions []enclaves.Region
		size    int64
		at      map[int64]uint64 // offset in the image: address
	}{
		{"none", nil, 0, nil},
		{"too little", []enclaves.Region{two(0), two(2 * mib), two(4 * mib)}, 0, nil},
		{"just the offset", []enclaves.Region{{Addr: 0, Size: 8 * mib}}, 0, nil},
		{"one region", []enclaves.Region{{Addr: gib, Size: 64 * mib}}, 56 * mib,
			map[int64]uint64{0: gib + 8*mib, 56*mib - 1: gib + 64*mib - 1}},
		{
			"descending pages",
			[]enclaves.Region{two(20 * mib), two(18 * mib), two(16 * mib), two(14 * mib), two(12 * mib), two(10 * mib)},
			4 * mib,
			map[int64]uint64{0: 12 * mib, 2*mib - 1: 14*mib - 1, 2 * mib: 10 * mib, 4*mib - 1: 12*mib - 1},
		},
		{"offset inside the second", []enclaves.Region{two(0), {Addr: gib, Size: 16 * mib}}, 10 * mib,
			map[int64]uint64{0: gib + 6*mib, 10*mib - 1: gib + 16*mib - 1}},
		{"empty regions", []enclaves.Region{{Addr: 5}, {Addr: gib, Size: 9 * mib}, {Addr: 7}, two(0)}, 3 * mib,
			map[int64]uint64{0: gib + 8*mib, mib - 1: gib + 9*mib - 1, mib: 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, size := enclaves.ImageReader(mem, tt.regions)
			if size != tt.size {
				t.Fatalf("size %d, want %d", size, tt.size)
			}
			for off, addr := range tt.at {
				var b [1]byte
				if n, err := r.ReadAt(b[:], off); n != 1 || err != nil || b[0] != mem.at(addr) {
					t.Errorf("at %#x: %d bytes, %v, %#x, want %#x", off, n, err, b[0], mem.at(addr))
				}
			}
			if n, err := r.ReadAt(make([]byte, 2), size); n != 0 || err != io.EOF {
				t.Errorf("at the end: %d bytes, %v", n, err)
			}
			if _, err := r.ReadAt(make([]byte, 2), -1); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("at -1: %v", err)
			}
		})
	}
}

func TestImageReaderIsAReaderAt(t *testing.T) {
	mem := pattern{size: 1 << 30}
	regions := []enclaves.Region{{Addr: 64 * mib, Size: 8*mib - 3}, {Addr: 0, Size: 7}, {Addr: 100, Size: 5000}, {Addr: 0x33, Size: 1}}
	var want []byte
	for _, g := range regions {
		for i := range g.Size {
			want = append(want, mem.at(g.Addr+i))
		}
	}
	want = want[enclaves.ImageOffset:]
	r, size := enclaves.ImageReader(mem, regions)
	if err := iotest.TestReader(io.NewSectionReader(r, 0, size), want); err != nil {
		t.Error(err)
	}
}

func TestImageReaderHostile(t *testing.T) {
	for _, tt := range []struct {
		name    string
		regions []enclaves.Region
		size    int64
		bad     []int64 // where there is no memory, beside the end of the image
	}{
		{"all of memory", []enclaves.Region{{Addr: 0, Size: math.MaxUint64}}, math.MaxInt64, nil},
		{"wraps around", []enclaves.Region{{Addr: math.MaxUint64 - 16*mib, Size: 1 << 40}}, 1<<40 - 8*mib, []int64{0, 8 * mib, 8*mib + 1, 9 * mib}},
		{"wraps around before the image", []enclaves.Region{{Addr: math.MaxUint64 - 4096, Size: 1 << 40}}, 1<<40 - 8*mib, []int64{0, 1, 4096}},
		{"beyond 2^63", []enclaves.Region{{Addr: 1 << 63, Size: 16 * mib}}, 8 * mib, []int64{0}},
		{"sum overflows", []enclaves.Region{
			{Addr: 1 << 62, Size: 1 << 63}, {Addr: 1 << 62, Size: 1 << 63}, {Addr: 1 << 62, Size: 1 << 63},
		}, math.MaxInt64, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mem := pattern{size: 64 * mib}
			r, size := enclaves.ImageReader(mem, tt.regions)
			if size != tt.size {
				t.Errorf("size %#x, want %#x", size, tt.size)
			}
			// Nothing at the end of the image is memory.
			for _, off := range append(tt.bad, size-1, size-4096, size/2) {
				n, err := r.ReadAt(make([]byte, 1), off)
				if n != 0 || err == nil || errors.Is(err, io.EOF) {
					t.Errorf("at %#x: %d bytes, %v", off, n, err)
				}
			}
		})
	}
}

func TestImageReaderShortMemory(t *testing.T) {
	r, size := enclaves.ImageReader(pattern{size: 9 * mib}, []enclaves.Region{{Addr: 0, Size: 16 * mib}})
	n, err := r.ReadAt(make([]byte, size), 0)
	if n != mib || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d bytes, %v: the end of memory is not that of the image", n, err)
	}
}

func FuzzImageReader(f *testing.F) {
	f.Add([]byte{0, 8, 0x80, 3, 5, 9}, int64(2), uint16(300))
	f.Add([]byte{1, 1, 2, 2}, int64(0), uint16(1))
	mem := pattern{size: 1 << 20}
	f.Fuzz(func(t *testing.T, layout []byte, off int64, n uint16) {
		// The first region is the 8 MiB that are skipped, give or take a byte.
		regions := []enclaves.Region{{Addr: 0, Size: enclaves.ImageOffset - 1}}
		want := []byte{}
		for i := 0; i+1 < len(layout) && i < 64; i += 2 {
			g := enclaves.Region{Addr: uint64(layout[i]) << 4, Size: uint64(layout[i+1])}
			regions = append(regions, g)
			for k := range g.Size {
				want = append(want, mem.at(g.Addr+k))
			}
		}
		want = want[min(1, len(want)):]
		r, size := enclaves.ImageReader(mem, regions)
		if size != int64(len(want)) {
			t.Fatalf("size %d, want %d", size, len(want))
		}
		got := make([]byte, n)
		m, err := r.ReadAt(got, off)
		switch {
		case off < 0:
			if err == nil {
				t.Fatal("negative offset")
			}
			return
		case off >= size:
			want = nil
		default:
			want = want[off:]
		}
		want = want[:min(len(want), int(n))]
		if !bytes.Equal(got[:m], want) {
			t.Fatalf("read %d bytes, want %d", m, len(want))
		}
		if short := m < int(n); short != (err == io.EOF) || !short && err != nil {
			t.Fatalf("read %d of %d bytes: %v", m, n, err)
		}
	})
}
