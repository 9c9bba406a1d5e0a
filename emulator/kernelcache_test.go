package emulator

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage"
	kit "github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
)

// testKernel is a bzImage with what is in it.
type testKernel struct{ image, elf []byte }

func newKernel(t testing.TB, k kit.Kernel) testKernel {
	t.Helper()
	elf := k.ELF(t)
	return testKernel{kit.BzImage(k.Release, kit.Payload(t, "zstd", elf)), elf}
}

// inspect looks at a kernel, and fails the test if that fails.
func (c kernelCache) mustInspect(t testing.TB, image []byte) unpackedKernel {
	t.Helper()
	k, err := c.inspect(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// wantKernel fails unless the uncompressed kernel is there.
func wantKernel(t testing.TB, k unpackedKernel, elf []byte) {
	t.Helper()
	got, err := os.ReadFile(k.path)
	if err != nil || !bytes.Equal(got, elf) {
		t.Errorf("uncompressed kernel: %d bytes, %v; want %d", len(got), err, len(elf))
	}
}

// countReads counts the reads of a kernel. One that is probed, and not remembered,
// is read more than once.
func countReads(image []byte) (io.ReaderAt, *int) {
	n := new(int)
	return readerFunc(func(p []byte, off int64) (int, error) {
		*n++
		return bytes.NewReader(image).ReadAt(p, off)
	}), n
}

type readerFunc func(p []byte, off int64) (int, error)

func (f readerFunc) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

func TestKernelCacheHit(t *testing.T) {
	c := kernelCache{filepath.Join(t.TempDir(), "kernels")}
	k := newKernel(t, kit.Kernel{Release: "6.12.0", PVH: true, Pad: 100 << 10})
	first := c.mustInspect(t, k.image)
	wantKernel(t, first, k.elf)
	if first.Info.Version != "6.12.0" || first.Opaque {
		t.Errorf("first look: %+v", first)
	}

	r, reads := countReads(k.image)
	second, err := c.inspect(r, int64(len(k.image)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second, cmp.AllowUnexported(unpackedKernel{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("second look (-first +second):\n%s", diff)
	}
	passes := *reads
	r, reads = countReads(k.image)
	if _, err := (kernelCache{}).inspect(r, int64(len(k.image))); err != nil {
		t.Fatal(err)
	}
	if passes >= *reads {
		t.Errorf("%d reads with a cache and %d without: it was probed again", passes, *reads)
	}
}

// What is remembered of kernels that QEMU does not start directly.
func TestKernelCacheWithoutUnpacking(t *testing.T) {
	c := kernelCache{t.TempDir()}
	tests := []struct {
		name   string
		image  []byte
		opaque bool
	}{
		{"no PVH entry", newKernel(t, kit.Kernel{Release: "4.14.0"}).image, false},
		{"an ELF as it is", kit.Kernel{Release: "6.12.0", PVH: true}.ELF(t), false},
		{"compressed with LZO", kit.BzImage("6.12", []byte("\x89LZO\x00\r\n\x1a\n and so on, and on")), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 {
				k := c.mustInspect(t, tt.image)
				if k.path != "" || k.Size != 0 || k.Opaque != tt.opaque {
					t.Errorf("%+v, want no uncompressed kernel; opaque: %v", k, tt.opaque)
				}
			}
		})
	}
	// Without a cache nothing is unpacked.
	if k := (kernelCache{}).mustInspect(t, newKernel(t, kit.Kernel{Release: "6.12.0", PVH: true}).image); k.path != "" {
		t.Errorf("unpacked into %s", k.path)
	}
}

func TestKernelCacheNoKernel(t *testing.T) {
	c := kernelCache{t.TempDir()}
	for name, image := range map[string][]byte{
		"empty":          nil,
		"no kernel":      bytes.Repeat([]byte("nonsense"), 1000),
		"cut off":        newKernel(t, kit.Kernel{Release: "6.12.0", PVH: true}).image[:3000],
		"an ELF for ARM": append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 200)...),
	} {
		if _, err := c.inspect(bytes.NewReader(image), int64(len(image))); !errors.Is(err, kernelimage.ErrFormat) {
			t.Errorf("%s: error %v, want ErrFormat", name, err)
		}
	}
	if left, _ := os.ReadDir(c.dir); len(left) > 0 {
		t.Errorf("kept: %v", left)
	}
	broken := errors.New("gone")
	if _, err := c.inspect(readerFunc(func([]byte, int64) (int, error) { return 0, broken }), 100); !errors.Is(err, broken) {
		t.Errorf("error %v, want the reader's", err)
	}
}

// Whatever happens to an entry, it is noticed and made again.
func TestKernelCacheRepairs(t *testing.T) {
	k := newKernel(t, kit.Kernel{Release: "6.12.0", PVH: true, Pad: 10 << 10})
	change := func(name string, f func(path string) error) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := f(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := map[string]func(t *testing.T, dir string){
		"kernel changed": change(kernelFileName, func(p string) error {
			b, err := os.ReadFile(p)
			if err == nil {
				b[len(b)/2] ^= 1
				err = os.WriteFile(p, b, 0o600)
			}
			return err
		}),
		"kernel cut off":     change(kernelFileName, func(p string) error { return os.Truncate(p, 100) }),
		"kernel longer":      change(kernelFileName, func(p string) error { return os.Truncate(p, 1<<20) }),
		"kernel gone":        change(kernelFileName, os.Remove),
		"description gone":   change(kernelInfoName, os.Remove),
		"description broken": change(kernelInfoName, func(p string) error { return os.WriteFile(p, []byte("{"), 0o600) }),
		"all gone":           change(".", os.RemoveAll),
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			c := kernelCache{t.TempDir()}
			first := c.mustInspect(t, k.image)
			damage(t, filepath.Dir(first.path))
			wantKernel(t, c.mustInspect(t, k.image), k.elf)
			if left, err := os.ReadDir(c.dir); err != nil || len(left) != 1 {
				t.Errorf("left: %v, %v; want one entry", left, err)
			}
		})
	}
}

// Of many at once each gets a kernel, which stays where it is: a QEMU may be
// about to open it.
func TestKernelCacheConcurrently(t *testing.T) {
	c := kernelCache{t.TempDir()}
	k := newKernel(t, kit.Kernel{Release: "6.12.0", PVH: true, Pad: 1 << 20})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5 {
				got, err := c.inspect(bytes.NewReader(k.image), int64(len(k.image)))
				if err != nil {
					t.Error(err)
					return
				}
				wantKernel(t, got, k.elf)
			}
		})
	}
	all.Wait()
	if left, err := os.ReadDir(c.dir); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v; want one entry", left, err)
	}
}

// An entry that another process finished first is left alone.
func TestKernelCachePlaceKeepsTheFirst(t *testing.T) {
	c := kernelCache{t.TempDir()}
	k := newKernel(t, kit.Kernel{Release: "6.12.0", PVH: true})
	first := c.mustInspect(t, k.image)
	before, err := os.Stat(first.path)
	if err != nil {
		t.Fatal(err)
	}
	late := unpackedKernel{Info: first.Info}
	if err := c.keep(filepath.Dir(first.path), &late, bytes.NewReader(k.image)); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(first.path); err != nil || !os.SameFile(before, after) {
		t.Errorf("the kernel is another file now: %v", err)
	}
	wantKernel(t, late, k.elf)
}

func TestKernelCacheIsBounded(t *testing.T) {
	c := kernelCache{t.TempDir()}
	if err := os.WriteFile(filepath.Join(c.dir, "README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first := newKernel(t, kit.Kernel{Release: "6.0.0", PVH: true})
	var kept []string
	for i := range maxKernels + 3 {
		k := newKernel(t, kit.Kernel{Release: fmt.Sprintf("6.1.%d", i), PVH: true})
		kept = append(kept, c.mustInspect(t, k.image).path)
		old := time.Now().Add(time.Duration(i-100) * time.Hour)
		if err := os.Chtimes(filepath.Dir(kept[i]), old, old); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			c.mustInspect(t, first.image)
		}
		c.mustInspect(t, first.image) // used all the time, so it stays
	}
	entries, err := os.ReadDir(c.dir)
	if err != nil || len(entries) != maxKernels+1 {
		t.Errorf("%d entries, %v; want %d and the file", len(entries), err, maxKernels)
	}
	wantKernel(t, c.mustInspect(t, first.image), first.elf)
	for i, path := range kept {
		_, err := os.Stat(path)
		if gone := err != nil; gone != (i < 4) {
			t.Errorf("kernel %d: gone: %v", i, gone)
		}
	}
}
