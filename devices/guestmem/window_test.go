package guestmem

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const seal = unix.F_SEAL_SHRINK

// ranges renders a table, so that differences are readable.
func ranges(w *Window) []string {
	var l []string
	for _, m := range w.table {
		perm := ""
		if m.read {
			perm += "r"
		}
		if m.write {
			perm += "w"
		}
		if m.file == nil {
			l = append(l, fmt.Sprintf("%x-%x %s", m.first, m.last, perm))
			continue
		}
		l = append(l, fmt.Sprintf("%x-%x %s @%x", m.first, m.last, perm, m.offset))
	}
	return l
}

func newWindow(t testing.TB, mappings ...Mapping) *Window {
	t.Helper()
	w := NewWindow()
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, m := range mappings {
		if err := w.Map(m); err != nil {
			t.Fatalf("Map(%+v) = %v", m, err)
		}
	}
	return w
}

func rw(iova, size, offset uint64, fd int) Mapping {
	return Mapping{IOVA: iova, Size: size, Offset: offset, FD: fd, Read: true, Write: true}
}

// TestWindowTable: what is mapped after a series of changes.
func TestWindowTable(t *testing.T) {
	fd := memfd(t, 0x100000, seal)
	ro := func(m Mapping) Mapping { m.Write = false; return m }
	type unmap struct{ iova, size uint64 }
	tests := []struct {
		name  string
		steps []any // Mapping or unmap
		want  []string
	}{
		{"nothing", nil, nil},
		{"QEMU's first maps", []any{rw(0, 0x80000, 0, fd), Mapping{IOVA: 0xfffc0000, Size: 0x40000, FD: -1, Read: true}},
			[]string{"0-7ffff rw @0", "fffc0000-ffffffff r"}},
		{"BIOS shadow", []any{
			rw(0, 0x80000, 0, fd), unmap{0, 0x80000},
			rw(0, 0x20000, 0, fd), Mapping{IOVA: 0x20000, Size: 0x10000, FD: -1, Read: true}, rw(0x30000, 0x50000, 0x30000, fd),
			unmap{0x20000, 0x10000}, ro(rw(0x20000, 0x8000, 0x20000, fd)), Mapping{IOVA: 0x28000, Size: 0x8000, FD: -1, Read: true},
		}, []string{"0-1ffff rw @0", "20000-27fff r @20000", "28000-2ffff r", "30000-7ffff rw @30000"}},
		{"neighbours become one", []any{rw(0x3000, 0x1000, 0x3000, fd), rw(0x1000, 0x1000, 0x1000, fd), rw(0x2000, 0x1000, 0x2000, fd)},
			[]string{"1000-3fff rw @1000"}},
		{"before", []any{rw(0x3000, 0x1000, 0x3000, fd), rw(0x2000, 0x1000, 0x2000, fd)}, []string{"2000-3fff rw @2000"}},
		{"other offset", []any{rw(0x3000, 0x1000, 0x3000, fd), rw(0x2000, 0x1000, 0x1000, fd)}, []string{"2000-2fff rw @1000", "3000-3fff rw @3000"}},
		{"other permission", []any{rw(0x3000, 0x1000, 0x3000, fd), ro(rw(0x2000, 0x1000, 0x2000, fd))}, []string{"2000-2fff r @2000", "3000-3fff rw @3000"}},
		{"same again", []any{rw(0x1000, 0x3000, 0, fd), rw(0x1000, 0x3000, 0, fd), rw(0x2000, 0x1000, 0x1000, fd)}, []string{"1000-3fff rw @0"}},
		{"exact unmap", []any{rw(0x1000, 0x1000, 0, fd), rw(0x2000, 0x1000, 0x4000, fd), unmap{0x1000, 0x1000}}, []string{"2000-2fff rw @4000"}},
		{"middle", []any{rw(0x1000, 0x3000, 0x8000, fd), unmap{0x2000, 0x800}}, []string{"1000-1fff rw @8000", "2800-3fff rw @9800"}},
		{"lower part", []any{rw(0x1000, 0x3000, 0x8000, fd), unmap{0, 0x2000}}, []string{"2000-3fff rw @9000"}},
		{"upper part", []any{rw(0x1000, 0x3000, 0x8000, fd), unmap{0x2001, 0x10000}}, []string{"1000-2000 rw @8000"}},
		{"several and parts of two", []any{
			rw(0x1000, 0x1000, 0x8000, fd), rw(0x3000, 0x1000, 0, fd), rw(0x4000, 0x1000, 0x3000, fd), rw(0x6000, 0x1000, 0, fd),
			unmap{0x1800, 0x5000},
		}, []string{"1000-17ff rw @8000", "6800-6fff rw @800"}},
		{"between", []any{rw(0x1000, 0x1000, 0, fd), rw(0x4000, 0x1000, 0, fd), unmap{0x2000, 0x2000}}, []string{"1000-1fff rw @0", "4000-4fff rw @0"}},
		{"all of the upper half", []any{rw(0x1000, 0x1000, 0, fd), rw(0xfee00000, 0x1000, 0, fd), unmap{0x100000, math.MaxUint64 - 0xfffff}}, []string{"1000-1fff rw @0"}},
		{"beyond the end", []any{rw(0x1000, 0x1000, 0, fd), unmap{0x1800, math.MaxUint64}}, []string{"1000-17ff rw @0"}},
		{"size 0", []any{rw(0x1000, 0x1000, 0, fd), unmap{0x1000, 0}}, []string{"1000-1fff rw @0"}},
		{"last page", []any{rw(math.MaxUint64-0xfff, 0x1000, 0x1000, fd), unmap{math.MaxUint64 - 0xff, 0x100}}, []string{"fffffffffffff000-fffffffffffffeff rw @1000"}},
		{"last byte", []any{rw(math.MaxUint64, 1, 0x1000, fd), rw(0, 1, 0x1001, fd)}, []string{"0-0 rw @1001", "ffffffffffffffff-ffffffffffffffff rw @1000"}},
		{"everything there is", []any{Mapping{Size: math.MaxUint64, FD: -1}, Mapping{IOVA: math.MaxUint64, Size: 1, FD: -1}, unmap{5, 1}},
			[]string{"0-4 ", "6-ffffffffffffffff "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWindow(t)
			for _, s := range tt.steps {
				var err error
				switch s := s.(type) {
				case Mapping:
					err = w.Map(s)
				case unmap:
					err = w.Unmap(s.iova, s.size)
				}
				if err != nil {
					t.Fatalf("%+v: %v", s, err)
				}
			}
			if diff := cmp.Diff(tt.want, ranges(w)); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
			checkFiles(t, w)
			w.UnmapAll()
			if n, _ := w.Mappings(); n != 0 {
				t.Errorf("%d mappings after UnmapAll: %v", n, ranges(w))
			}
			checkFiles(t, w)
		})
	}
}

// checkFiles checks that every file counts the entries that use it.
func checkFiles(t testing.TB, w *Window) {
	t.Helper()
	uses := map[*file]int{}
	for _, m := range w.table {
		if m.file != nil {
			uses[m.file]++
		}
	}
	idle := 0
	for _, f := range w.files {
		if f.ranges != uses[f] {
			t.Errorf("file counts %d entries, has %d", f.ranges, uses[f])
		}
		if f.ranges == 0 {
			idle++
		}
		delete(uses, f)
	}
	if len(uses) > 0 {
		t.Errorf("%d files are used and not listed", len(uses))
	}
	if idle > maxIdle+1 {
		t.Errorf("%d idle files", idle)
	}
}

// TestWindowAccess: Read, Write and View of one range agree about what is reached.
func TestWindowAccess(t *testing.T) {
	fd := memfd(t, 0x10000, seal) // byte o is o/256
	w := newWindow(t,
		rw(0x1000, 0x1000, 0x8000, fd),
		rw(0x2000, 0x1000, 0x2000, fd),
		Mapping{IOVA: 0x3000, Size: 0x1000, Offset: 0x5000, FD: fd, Read: true},
		Mapping{IOVA: 0x4000, Size: 0x1000, Offset: 0x6000, FD: fd, Write: true},
		Mapping{IOVA: 0x5000, Size: 0x1000, FD: -1, Read: true, Write: true},
		rw(math.MaxUint64-0xfff, 0x1000, 0xf000, fd),
		rw(0, 0x10, 0, fd),
	)
	unmapped := errors.New("unmapped") // stands for an AddressError without Err
	tests := []struct {
		name        string
		iova        uint64
		n           int
		read, write error
		segments    []int // lengths
	}{
		{"one byte", 0x1234, 1, nil, nil, []int{1}},
		{"whole mapping", 0x1000, 0x1000, nil, nil, []int{0x1000}},
		{"across two", 0x1ff8, 16, nil, nil, []int{8, 8}},
		{"all of two", 0x1000, 0x2000, nil, nil, []int{0x1000, 0x1000}},
		{"nothing, anywhere", 0x999999, 0, nil, nil, nil},
		{"negative", 0x1000, -1, unmapped, unmapped, nil},
		{"before", 0xfff, 1, unmapped, unmapped, nil},
		{"begins before", 0xfff, 2, unmapped, unmapped, nil},
		{"hole", 0x10, 0x1000, unmapped, unmapped, nil},
		{"read-only", 0x3000, 8, nil, ErrPermission, []int{8}},
		{"into read-only", 0x2ffc, 8, nil, ErrPermission, []int{4, 4}},
		{"write-only", 0x4000, 8, ErrPermission, nil, []int{8}},
		{"no memory", 0x5000, 8, ErrNoMemory, ErrNoMemory, nil},
		{"into no memory", 0x4ff8, 16, ErrPermission, ErrNoMemory, nil},
		{"end of all", 0x5fff, 2, ErrNoMemory, ErrNoMemory, nil},
		{"last bytes", math.MaxUint64 - 7, 8, nil, nil, []int{8}},
		{"around the end", math.MaxUint64 - 7, 9, unmapped, unmapped, nil},
		{"huge", 0x1000, math.MaxInt, ErrPermission, ErrPermission, nil},
		{"huge, in a hole", 0x7000, math.MaxInt, unmapped, unmapped, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, write := range []bool{false, true} {
				want := tt.read
				if write {
					want = tt.write
				}
				var got []int
				view := w.View(tt.iova, tt.n, write, func(segments [][]byte) error {
					for _, s := range segments {
						if len(s) != cap(s) {
							t.Errorf("segment of %d bytes has capacity %d", len(s), cap(s))
						}
						got = append(got, len(s))
					}
					return nil
				})
				check := func(op string, err error) {
					var ae *AddressError
					switch {
					case want == nil:
						if err != nil {
							t.Errorf("%s = %v", op, err)
						}
						return
					case !errors.As(err, &ae):
						t.Errorf("%s = %v, want an AddressError", op, err)
						return
					}
					wantErr := AddressError{Space: Bus, Addr: tt.iova, Len: tt.n}
					gotErr := *ae
					if gotErr.Err = nil; gotErr != wantErr {
						t.Errorf("%s = %+v, want %+v", op, gotErr, wantErr)
					}
					if (ae.Err == nil) != (want == unmapped) || want != unmapped && !errors.Is(err, want) {
						t.Errorf("%s = %v, want %v", op, err, want)
					}
				}
				check(fmt.Sprintf("View(write %t)", write), view)
				if want == nil {
					if diff := cmp.Diff(tt.segments, got); diff != "" {
						t.Errorf("segments (-want +got):\n%s", diff)
					}
				} else if got != nil {
					t.Error("callback was called")
				}
				if tt.n < 0 || tt.n > 1<<20 {
					continue
				}
				p := make([]byte, tt.n)
				if write {
					check("Write", w.Write(tt.iova, p))
				} else {
					check("Read", w.Read(tt.iova, p))
				}
			}
		})
	}
}

// TestWindowContent: bytes come from and go to the right places of the file.
func TestWindowContent(t *testing.T) {
	fd := memfd(t, 0x10000, seal)
	w := newWindow(t, rw(0x1000, 0x1000, 0x8000, fd), rw(0x2000, 0x1000, 0x2000, fd), Mapping{IOVA: 0x3000, Size: 0x1000, Offset: 0, FD: fd, Read: true})
	got := make([]byte, 4)
	if err := w.Read(0x1ffe, got); err != nil || !bytes.Equal(got, []byte{0x8f, 0x8f, 0x20, 0x20}) {
		t.Errorf("Read = %x, %v", got, err)
	}
	if err := w.Write(0x1ffe, []byte("abcd")); err != nil {
		t.Fatal(err)
	}
	file := func(off int64) string {
		b := make([]byte, 2)
		if _, err := unix.Pread(fd, b, off); err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if file(0x8ffe) != "ab" || file(0x2000) != "cd" {
		t.Errorf("file has %q and %q", file(0x8ffe), file(0x2000))
	}
	if err := w.View(0x1ffe, 4, true, func(s [][]byte) error { s[1][0] = 'X'; return nil }); err != nil {
		t.Fatal(err)
	}
	if file(0x2000) != "Xd" {
		t.Errorf("file has %q after View", file(0x2000))
	}
	// A write that fails half way changes nothing, a read neither.
	if err := w.Write(0x2ffe, []byte("1234")); err == nil {
		t.Error("wrote to a read-only mapping")
	}
	if file(0x2ffe) != "\x2f\x2f" {
		t.Errorf("file has %q after a refused write", file(0x2ffe))
	}
	if err := w.View(0x1000, 4, true, func([][]byte) error { return unix.EBADMSG }); !errors.Is(err, unix.EBADMSG) {
		t.Errorf("View = %v, want the error of the callback", err)
	}
}
