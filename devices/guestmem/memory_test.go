package guestmem

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// twoAndOne is a table of two adjacent regions, 0x1000 to 0x1fff and 0x2000 to
// 0x27ff, and one by itself at 0x8000. Front-end addresses run the other way
// round. Every byte tells its region in the high and its offset in the low bits.
func twoAndOne() *Memory {
	m := &Memory{regions: []region{
		{gpa: 0x1000, user: 0x30000, mem: make([]byte, 0x1000)},
		{gpa: 0x2000, user: 0x20000, mem: make([]byte, 0x800)},
		{gpa: 0x8000, user: 0x10000, mem: make([]byte, 0x1000)},
	}}
	for i, r := range m.regions {
		for o := range r.mem {
			r.mem[o] = byte(i<<6 | o&0x3f)
		}
	}
	return m
}

func TestSlice(t *testing.T) {
	m := twoAndOne()
	tests := []struct {
		name  string
		addr  uint64
		n     int
		first int // expected first byte; -1 for an error
	}{
		{"first byte", 0x1000, 1, 0},
		{"whole region", 0x1000, 0x1000, 0},
		{"last byte", 0x1fff, 1, 0x3f},
		{"second region", 0x2001, 0x7ff, 0x41},
		{"nothing", 0x1000, 0, 0},
		{"nothing at the end", 0x8fff, 0, 0},
		{"across two regions", 0x1fff, 2, -1},
		{"before memory", 0xfff, 1, -1},
		{"into memory", 0xfff, 2, -1},
		{"in the gap", 0x2800, 1, -1},
		{"into the gap", 0x27ff, 2, -1},
		{"behind memory", 0x9000, 1, -1},
		{"negative", 0x1000, -1, -1},
		{"most negative", 0x1000, math.MinInt, -1},
		{"largest length", 0x1000, math.MaxInt, -1},
		{"wraps around", math.MaxUint64, 2, -1},
		{"wraps around into memory", math.MaxUint64 - 1, 0x1003, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := m.Slice(tt.addr, tt.n)
			var ae *AddressError
			switch {
			case tt.first < 0:
				if !errors.As(err, &ae) || b != nil {
					t.Fatalf("Slice = %d bytes, %v; want an AddressError", len(b), err)
				}
				if diff := cmp.Diff(AddressError{Space: GuestPhysical, Addr: tt.addr, Len: tt.n}, *ae); diff != "" {
					t.Errorf("error (-want +got):\n%s", diff)
				}
			case err != nil:
				t.Fatal(err)
			case len(b) != tt.n || cap(b) != tt.n:
				t.Errorf("len %d cap %d, want %d", len(b), cap(b), tt.n)
			case tt.n > 0 && b[0] != byte(tt.first):
				t.Errorf("first byte %#x, want %#x", b[0], tt.first)
			}
		})
	}
}

func TestUserSlice(t *testing.T) {
	m := twoAndOne()
	b, err := m.UserSlice(0x20004, 4)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]byte{0x44, 0x45, 0x46, 0x47}, b); diff != "" {
		t.Errorf("bytes (-want +got):\n%s", diff)
	}
	var ae *AddressError
	for _, bad := range []uint64{0x1000, 0x207fd, 0xffff, math.MaxUint64} {
		if _, err := m.UserSlice(bad, 4); !errors.As(err, &ae) || ae.Space != FrontEnd {
			t.Errorf("UserSlice(%#x) = %v, want an AddressError", bad, err)
		}
	}
}

func TestAppend(t *testing.T) {
	m := twoAndOne()
	have := [][]byte{{1}}
	tests := []struct {
		name string
		addr uint64
		n    int
		want []int // lengths of the segments; nil for an error
	}{
		{"in one region", 0x1800, 0x800, []int{0x800}},
		{"across", 0x1ffe, 4, []int{2, 2}},
		{"both wholly", 0x1000, 0x1800, []int{0x1000, 0x800}},
		{"into the gap", 0x1000, 0x1801, nil},
		{"in the gap", 0x2800, 1, nil},
		{"negative", 0x1000, -1, nil},
		{"largest length", 0x1000, math.MaxInt, nil},
		{"wraps around", math.MaxUint64, math.MaxInt, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := m.Append(have, tt.addr, tt.n)
			if tt.want == nil {
				var ae *AddressError
				if !errors.As(err, &ae) || len(got) != 1 {
					t.Fatalf("Append = %d segments, %v; want an AddressError", len(got), err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var lens []int
			for _, s := range got[1:] {
				lens = append(lens, len(s))
			}
			if diff := cmp.Diff(tt.want, lens); diff != "" {
				t.Errorf("segment lengths (-want +got):\n%s", diff)
			}
			flat := make([]byte, tt.n)
			if err := m.ReadAt(flat, tt.addr); err != nil {
				t.Fatal(err)
			}
			var joined []byte
			for _, s := range got[1:] {
				joined = append(joined, s...)
			}
			if diff := cmp.Diff(flat, joined); diff != "" {
				t.Errorf("ReadAt and Append differ:\n%s", diff)
			}
		})
	}
}

func TestReadAtFails(t *testing.T) {
	m := twoAndOne()
	var ae *AddressError
	for _, bad := range []uint64{0xfff, 0x27fd, math.MaxUint64 - 1} {
		if err := m.ReadAt(make([]byte, 4), bad); !errors.As(err, &ae) || ae.Addr != bad {
			t.Errorf("ReadAt(%#x) = %v, want an AddressError", bad, err)
		}
	}
}

func TestSizes(t *testing.T) {
	m := twoAndOne()
	if m.Regions() != 3 || m.Size() != 0x2800 {
		t.Errorf("%d regions of %#x bytes, want 3 of 0x2800", m.Regions(), m.Size())
	}
}

func TestFromBytesPanics(t *testing.T) {
	for name, f := range map[string]func(){
		"empty": func() { FromBytes(0, nil) },
		"wraps": func() { FromBytes(math.MaxUint64-1, make([]byte, 4)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

func TestNoAllocation(t *testing.T) {
	m := twoAndOne()
	list := make([][]byte, 0, 4)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := m.Slice(0x8000, 16); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Append(list, 0x1f00, 0x200); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// FuzzTranslate compares every way to an address with a byte-wise model.
func FuzzTranslate(f *testing.F) {
	f.Add(uint64(0x1000), 0x1800)
	f.Add(uint64(0x1fff), 2)
	f.Add(uint64(0x27ff), 2)
	f.Add(uint64(math.MaxUint64), math.MaxInt)
	f.Add(uint64(0), -1)
	m := twoAndOne()
	mapped := func(a uint64) (int, bool) {
		for i, r := range m.regions {
			if a >= r.gpa && a-r.gpa < uint64(len(r.mem)) {
				return i, true
			}
		}
		return 0, false
	}
	f.Fuzz(func(t *testing.T, gpa uint64, n int) {
		list, err := m.Append(nil, gpa, n)
		_, sliceErr := m.Slice(gpa, n)
		if n <= 0 || n > 0x10000 {
			if n != 0 && (err == nil || sliceErr == nil) {
				t.Fatalf("length %d accepted", n)
			}
			return
		}
		whole, one := true, true
		first, _ := mapped(gpa)
		for i := range uint64(n) {
			r, ok := mapped(gpa + i)
			whole = whole && ok && gpa+i >= gpa
			one = one && r == first
		}
		if (err == nil) != whole {
			t.Fatalf("Append(%#x, %#x): %v, but mapped=%v", gpa, n, err, whole)
		}
		if (sliceErr == nil) != (whole && one) {
			t.Fatalf("Slice(%#x, %#x): %v, but mapped=%v in one region=%v", gpa, n, sliceErr, whole, one)
		}
		total := 0
		for _, s := range list {
			total += len(s)
		}
		if err == nil && total != n {
			t.Fatalf("Append(%#x, %#x) returned %#x bytes", gpa, n, total)
		}
	})
}
