package eif_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/nitrolab/nitrolab/images/eif"
)

// A longImage is an image with one ramdisk of size zero bytes that exists
// nowhere: head is everything up to the ramdisk's data.
type longImage struct {
	head []byte
	size int64
}

func newLongImage(ramdiskSize int64) longImage {
	b := rawImage(4, 0, secKernel, secCmdline, secMetadata, rawSection{typ: ramdisk})
	binary.BigEndian.PutUint64(b[284+8*3:], uint64(ramdiskSize))
	binary.BigEndian.PutUint64(b[len(b)-8:], uint64(ramdiskSize))
	return longImage{b, int64(len(b)) + ramdiskSize}
}

func (l longImage) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	if off < int64(len(l.head)) {
		n = copy(p, l.head[off:])
	}
	clear(p[n:min(int64(len(p)), l.size-off)])
	if off+int64(len(p)) > l.size {
		return int(l.size - off), io.EOF
	}
	return len(p), nil
}

// allocated runs f and returns how many bytes it took from the heap in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestMeasureConstantMemory measures an image of 2 GiB (256 MiB with -short)
// and one of 1 MiB: both take the same memory, little more than one buffer.
func TestMeasureConstantMemory(t *testing.T) {
	size := int64(2 << 30)
	if testing.Short() {
		size = 256 << 20
	}
	for _, n := range []int64{1 << 20, size} {
		l := newLongImage(n)
		im, err := eif.Open(l, l.size)
		if err != nil {
			t.Fatal(err)
		}
		var m eif.Measurements
		if got, limit := allocated(func() { m, err = im.Measure() }), uint64(512<<10); got > limit {
			t.Errorf("%d MiB image: allocated %d bytes, allowed are %d", n>>20, got, limit)
		}
		if err != nil {
			t.Fatal(err)
		}
		if n == 1<<20 {
			h := sha512.New384()
			h.Write([]byte("KERNquiet"))
			h.Write(make([]byte, n))
			want := sha512.Sum384(append(make([]byte, 48), h.Sum(nil)...))
			if m.PCR0 != want {
				t.Errorf("PCR0 %s, want %x", m.PCR0, want)
			}
		}
	}
}

// TestBuildConstantMemory builds, opens and extracts an image around a sparse
// file of 64 MiB.
func TestBuildConstantMemory(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "ramdisk"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 64 << 20
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	spec := eif.Spec{Kernel: section("KERN"), Cmdline: "quiet", Ramdisks: []*io.SectionReader{io.NewSectionReader(f, 0, size)}}
	name := filepath.Join(dir, "out.eif")
	if got := allocated(func() { _, err = eif.BuildFile(name, spec) }); got > 1<<20 {
		t.Errorf("build allocated %d bytes", got)
	}
	if err != nil {
		t.Fatal(err)
	}
	im, err := eif.OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	if got := allocated(func() { _, err = eif.Extract(im.Image, filepath.Join(dir, "x"), false) }); got > 1<<20 {
		t.Errorf("extract allocated %d bytes", got)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func section(s string) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader([]byte(s)), 0, int64(len(s)))
}

// BenchmarkVerify is the time an enclave's start spends on its image.
func BenchmarkVerify(b *testing.B) {
	l := newLongImage(64 << 20)
	im, err := eif.Open(l, l.size)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(l.size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := im.Measure(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	img := rawImage(4, 0, sections(32)...)
	r := bytes.NewReader(img)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := eif.Open(r, int64(len(img))); err != nil {
			b.Fatal(err)
		}
	}
}
