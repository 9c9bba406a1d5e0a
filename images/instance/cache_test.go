package instance

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCacheIsUsed(t *testing.T) {
	spec := newSpec(t)
	first := mustBuild(t, spec)
	before, err := os.Stat(first.Initramfs)
	if err != nil {
		t.Fatal(err)
	}
	again := mustBuild(t, spec)
	after, err := os.Stat(again.Initramfs)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again); diff != "" || !os.SameFile(before, after) {
		t.Errorf("second image is another file (-first +again):\n%s", diff)
	}
}

// What rotted is made again.
func TestCacheRepairs(t *testing.T) {
	damage := map[string]func(t *testing.T, path string){
		"changed byte": func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 1
			replace(t, path, b)
		},
		"cut off": func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			replace(t, path, b[:len(b)-4])
		},
		"gone": remove,
		"too long": func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			replace(t, path, append(b, 0, 0, 0, 0))
		},
		"link to another": func(t *testing.T, path string) {
			remove(t, path)
			if err := os.Symlink("/dev/zero", path); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, f := range damage {
		t.Run(name, func(t *testing.T) {
			spec := newSpec(t)
			im := mustBuild(t, spec)
			want, err := os.ReadFile(im.Initramfs)
			if err != nil {
				t.Fatal(err)
			}
			f(t, im.Initramfs)
			again := mustBuild(t, spec)
			got, err := os.ReadFile(again.Initramfs)
			if err != nil || string(got) != string(want) {
				t.Errorf("%d bytes, %v, want %d", len(got), err, len(want))
			}
		})
	}
}

func replace(t *testing.T, path string, b []byte) {
	t.Helper()
	remove(t, path)
	if err := os.WriteFile(path, b, 0o444); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestPrune(t *testing.T) {
	spec := newSpec(t)
	var images []*Image
	for i := range Kept + 2 {
		spec.Files = map[string]File{"opt/n": {Data: []byte{byte(i)}, Mode: 0o644}}
		im := mustBuild(t, spec)
		// Their order is by time of use, which must differ.
		at := time.Now().Add(time.Duration(i-100) * time.Minute)
		if err := os.Chtimes(im.Initramfs, at, at); err != nil {
			t.Fatal(err)
		}
		images = append(images, im)
	}
	old, fresh := filepath.Join(spec.CacheDir, ".new-old.cpio"), filepath.Join(spec.CacheDir, ".new-fresh.cpio")
	other := filepath.Join(spec.CacheDir, "note")
	for _, p := range []string{old, fresh, other} {
		write(t, p, nil)
	}
	long := time.Now().Add(-2 * abandoned)
	for _, p := range []string{old, other} {
		if err := os.Chtimes(p, long, long); err != nil {
			t.Fatal(err)
		}
	}
	// Using an old one keeps it, from now on.
	spec.Files = map[string]File{"opt/n": {Data: []byte{2}, Mode: 0o644}}
	used := mustBuild(t, spec)
	spec.Files = map[string]File{"opt/n": {Data: []byte{99}, Mode: 0o644}}
	mustBuild(t, spec)
	for i, im := range images {
		_, err := os.Stat(im.Initramfs)
		there := i == 2 || i >= 4
		if errors.Is(err, fs.ErrNotExist) == there {
			t.Errorf("image %d: %v", i, err)
		}
	}
	if used.SHA256 != images[2].SHA256 {
		t.Error("another image was made")
	}
	for p, there := range map[string]bool{old: false, fresh: true, other: true} {
		if _, err := os.Stat(p); (err == nil) != there {
			t.Errorf("%s: %v", filepath.Base(p), err)
		}
	}
}

func TestCancelled(t *testing.T) {
	spec := newSpec(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := builder{spec: spec, programs: fakePrograms}
	if _, err := b.build(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	entries, err := os.ReadDir(spec.CacheDir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) > 0 {
		t.Errorf("cache has %v", entries)
	}
}

// A file that changes while it is read makes an error and no image.
func TestSourceChanges(t *testing.T) {
	c := cache{t.TempDir()}
	spec := newSpec(t)
	source := write(t, filepath.Join(t.TempDir(), "f"), []byte("before"))
	spec.Files = map[string]File{"opt/f": {Path: source, Mode: 0o644}}
	b := builder{spec: spec, programs: fakePrograms}
	archive, err := b.archive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	sum := strings.Repeat("0", 64) // of what it was
	if err := c.write(t.Context(), filepath.Join(c.dir, sum+suffix), sum, archive.Section()); !errors.Is(err, errChanged) {
		t.Errorf("error %v, want errChanged", err)
	}
	entries, err := os.ReadDir(c.dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("cache has %v, %v", entries, err)
	}
}

func BenchmarkBuild(b *testing.B) {
	spec := newSpec(b)
	spec.Files = map[string]File{"opt/large": {Data: make([]byte, 16<<20)}}
	b.ReportAllocs()
	for b.Loop() {
		mustBuild(b, spec)
	}
}
