package guestmem

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// A modelWindow says for every bus address, below modelSize, what is there: the
// slow and obvious way.
type modelWindow [modelSize]modelByte

type modelByte struct {
	file        int // 0: not mapped, 1: no memory, 2 and on: files
	offset      int
	read, write bool
}

const (
	modelSize = 64
	modelFile = 64 // bytes of each file
)

// mapRange maps, or says no if something else is there.
func (m *modelWindow) mapRange(iova, size, offset int, b modelByte) bool {
	fits := true
	same := true
	for i := range size {
		c := b
		if c.file > 1 {
			c.offset = offset + i
		}
		fits = fits && m[iova+i].file == 0
		same = same && m[iova+i] == c
	}
	if !fits {
		return same
	}
	for i := range size {
		c := b
		if c.file > 1 {
			c.offset = offset + i
		}
		m[iova+i] = c
	}
	return true
}

// access says whether n bytes at iova can be read, or written.
func (m *modelWindow) access(iova, n int, write bool) bool {
	for i := range n {
		if iova+i >= modelSize {
			return false
		}
		b := m[iova+i]
		if b.file < 2 || write && !b.write || !write && !b.read {
			return false
		}
	}
	return true
}

// FuzzWindow compares a Window with the model over arbitrary changes, and after
// each of them what every address gives. The data is a series of changes of 6 bytes
// each: which, address, size, offset, file, permissions.
func FuzzWindow(f *testing.F) {
	f.Add([]byte{0, 0, 32, 0, 2, 3, 1, 8, 4, 0, 0, 0, 2, 6, 3, 0, 0, 0, 0, 8, 4, 40, 3, 1})
	f.Add([]byte{0, 8, 8, 8, 2, 3, 0, 16, 8, 16, 2, 3, 0, 0, 8, 0, 2, 3, 1, 4, 16, 0, 0, 0, 2, 0, 4, 0, 0, 0})
	f.Add([]byte{0, 0, 64, 0, 1, 3, 1, 10, 10, 0, 0, 0, 0, 10, 10, 10, 2, 2, 3, 0, 0, 0, 0, 0})
	var fds []int
	for range 2 {
		fd, err := unix.MemfdCreate("guestmem-test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err == nil {
			err = unix.Ftruncate(fd, modelFile)
		}
		if err == nil {
			_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK)
		}
		if err != nil {
			f.Fatal(err)
		}
		f.Cleanup(func() { _ = unix.Close(fd) })
		fds = append(fds, fd)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w, model := newWindow(t), &modelWindow{}
		var content [2][modelFile]byte
		for i, fd := range fds {
			for j := range content[i] {
				content[i][j] = byte(i*modelFile + j)
			}
			if _, err := unix.Pwrite(fd, content[i][:], 0); err != nil {
				t.Fatal(err)
			}
		}
		for step := byte(0); len(data) >= 6 && step < 64; data, step = data[6:], step+1 {
			iova, size := int(data[1]%modelSize), int(data[2])
			size = min(size, modelSize-iova)
			switch data[0] % 4 {
			case 0:
				b := modelByte{file: 1 + int(data[4]%3), read: data[5]&1 != 0, write: data[5]&2 != 0}
				m := Mapping{IOVA: uint64(iova), Size: uint64(size), FD: -1, Read: b.read, Write: b.write}
				if b.file > 1 {
					m.FD, m.Offset = fds[b.file-2], uint64(data[3])
				}
				ok := size > 0 && (b.file == 1 || int(data[3])+size <= modelFile) && model.mapRange(iova, size, int(data[3]), b)
				if err := w.Map(m); (err == nil) != ok {
					t.Fatalf("Map(%+v) = %v, want success %t in %v", m, err, ok, ranges(w))
				}
			case 1:
				for i := range size {
					model[iova+i] = modelByte{}
				}
				if err := w.Unmap(uint64(iova), uint64(size)); err != nil {
					t.Fatal(err)
				}
			case 2:
				p := make([]byte, size)
				for i := range p {
					p[i] = step
				}
				ok := model.access(iova, size, true)
				if err := w.Write(uint64(iova), p); (err == nil) != ok {
					t.Fatalf("Write(%#x, %d) = %v, want success %t in %v", iova, size, err, ok, ranges(w))
				}
				for i := range size {
					if b := model[iova+i]; ok {
						content[b.file-2][b.offset] = step
					}
				}
			case 3:
				w.UnmapAll()
				*model = modelWindow{}
			}
			compare(t, w, model, &content)
		}
		checkFiles(t, w)
	})
}

// compare reads every pair of neighbours, in both ways.
func compare(t *testing.T, w *Window, model *modelWindow, content *[2][modelFile]byte) {
	t.Helper()
	for iova := range modelSize {
		n := min(2, modelSize-iova)
		want := make([]byte, n)
		ok := model.access(iova, n, false)
		for i := range n {
			if b := model[iova+i]; ok {
				want[i] = content[b.file-2][b.offset]
			}
		}
		got := make([]byte, n)
		if err := w.Read(uint64(iova), got); (err == nil) != ok || !cmp.Equal(want, got) {
			t.Fatalf("Read(%#x) = %x, %v; want %x, success %t in %v", iova, got, err, want, ok, ranges(w))
		}
		var viewed []byte
		err := w.View(uint64(iova), n, false, func(s [][]byte) error {
			for _, b := range s {
				viewed = append(viewed, b...)
			}
			return nil
		})
		if (err == nil) != ok || ok && !cmp.Equal(want, viewed) {
			t.Fatalf("View(%#x) = %x, %v; want %x, success %t in %v", iova, viewed, err, want, ok, ranges(w))
		}
	}
	for i := 1; i < len(w.table); i++ {
		if a, b := &w.table[i-1], &w.table[i]; a.last >= b.first || a.continues(b) {
			t.Fatalf("table is not in order, or has two where one would do: %v", ranges(w))
		}
	}
}
