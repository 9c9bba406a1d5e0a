package toolchain

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/images/toolchain/debian"
	"github.com/nitrolab/nitrolab/images/toolchain/debian/debiantest"
)

// rewrite changes the content of a file without changing its size.
func rewrite(t *testing.T, name string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// rewriteQuietly does so and sets the time of the last change back.
func rewriteQuietly(t *testing.T, name string) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, name)
	if err := os.Chtimes(name, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestRepair damages one file after another and sees the next Find notice and
// mend it, without a network.
func TestRepair(t *testing.T) {
	r := newRepo(t)
	opts := testOptions(t, r)
	l := &listener{}
	opts.Progress = l
	tc := mustFind(t, opts)
	r.Stop()
	qemuRoot := strings.TrimSuffix(tc.QEMU.Path, "/"+debianQEMUBin)
	library := filepath.Join(qemuRoot, "usr/lib", debianTriplet, "libfake.so.1")
	module := filepath.Join(tc.Kernel.ModulesDir, "kernel/virtio_mmio.ko.xz")
	store := filepath.Join(opts.CacheDir, "toolchain")

	tests := []struct {
		name   string
		damage func(t *testing.T)
		stages []string
		says   string
	}{
		{"QEMU truncated", func(t *testing.T) { must(t, os.Truncate(tc.QEMU.Path, 10)) }, []string{"unpack qemu"}, "10 bytes where"},
		{"QEMU modified", func(t *testing.T) { rewrite(t, tc.QEMU.Path) }, []string{"unpack qemu"}, "content has changed"},
		{"QEMU modified and its time set back", func(t *testing.T) { rewriteQuietly(t, tc.QEMU.Path) }, []string{"unpack qemu"}, "content has changed"},
		{"QEMU not executable", func(t *testing.T) { must(t, os.Chmod(tc.QEMU.Path, 0o644)) }, []string{"unpack qemu"}, "mode"},
		{"QEMU replaced by a folder", func(t *testing.T) {
			must(t, os.Remove(tc.QEMU.Path))
			must(t, os.Mkdir(tc.QEMU.Path, 0o755))
		}, []string{"unpack qemu"}, "no regular file"},
		{"library missing", func(t *testing.T) { must(t, os.Remove(library)) }, []string{"unpack qemu"}, "missing"},
		{"link to another library", func(t *testing.T) {
			link := strings.TrimSuffix(library, ".1")
			must(t, os.Remove(link))
			must(t, os.Symlink("other.so.1", link))
		}, []string{"unpack qemu"}, "another link"},
		{"loader missing", func(t *testing.T) { must(t, os.Remove(tc.QEMU.Argv[0])) }, []string{"unpack qemu"}, "missing"},
		{"kernel modified", func(t *testing.T) { rewrite(t, tc.Kernel.Image) }, []string{"unpack kernel"}, "vmlinuz"},
		{"vmlinux truncated", func(t *testing.T) { must(t, os.Truncate(tc.Kernel.Vmlinux, 0)) }, []string{"unpack kernel"}, "vmlinux"},
		{"module missing", func(t *testing.T) { must(t, os.Remove(module)) }, []string{"unpack kernel"}, "virtio_mmio"},
		{"all modules missing", func(t *testing.T) { must(t, os.RemoveAll(tc.Kernel.ModulesDir)) }, []string{"unpack kernel"}, "missing"},
		{"busybox modified", func(t *testing.T) { rewrite(t, tc.Busybox) }, []string{"unpack busybox"}, "busybox"},
		{"record missing", func(t *testing.T) { must(t, os.Remove(filepath.Join(filepath.Dir(qemuRoot), recordFile))) }, []string{"unpack qemu"}, recordFile},
		{"record damaged", func(t *testing.T) { must(t, os.Truncate(filepath.Join(filepath.Dir(qemuRoot), recordFile), 50)) }, []string{"unpack qemu"}, recordFile},
		{"a whole part missing", func(t *testing.T) { must(t, os.RemoveAll(filepath.Dir(qemuRoot))) }, []string{"unpack qemu"}, recordFile},
		{"manifest missing", func(t *testing.T) { must(t, os.Remove(filepath.Join(store, manifestFile))) }, nil, ""},
		{"manifest damaged", func(t *testing.T) { must(t, os.Truncate(filepath.Join(store, manifestFile), 200)) }, nil, ""},
		{"manifest leads elsewhere", func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(store, manifestFile))
			must(t, err)
			writeTestFile(t, filepath.Join(store, manifestFile), strings.Replace(string(b), `"qemu-`, `"../qemu-`, 1), 0o644)
		}, nil, ""},
		{"leftovers of a run that was killed", func(t *testing.T) {
			writeTestFile(t, filepath.Join(store, "tmp-qemu-1/root/x"), "", 0o644)
			writeTestFile(t, filepath.Join(store, "apt/state/x"), "", 0o644)
			must(t, os.Remove(module))
		}, []string{"unpack kernel"}, "missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l.take()
			tt.damage(t)
			again := mustFind(t, opts)
			notes, stages := l.take()
			if diff := cmp.Diff(tt.stages, stages); diff != "" {
				t.Errorf("stages (-want +got):\n%s", diff)
			}
			if !strings.Contains(strings.Join(notes, "\n"), tt.says) {
				t.Errorf("notes %q do not say %q", notes, tt.says)
			}
			if again.QEMU.Path != tc.QEMU.Path || again.Kernel.Image != tc.Kernel.Image {
				t.Errorf("paths have changed: %s", again.QEMU.Path)
			}
			for _, part := range []Part{PartQEMU, PartKernel, PartBusybox} {
				damage, _, err := tree{filepath.Join(store, again.Content(part).Folder)}.check(t.Context(), true)
				if err != nil || len(damage) > 0 {
					t.Errorf("%v is still damaged: %q, %v", part, damage, err)
				}
			}
			before := snapshot(t, opts.CacheDir)
			mustFind(t, opts)
			if diff := cmp.Diff(before, snapshot(t, opts.CacheDir)); diff != "" {
				t.Errorf("mended again the next time (-before +after):\n%s", diff)
			}
			if left, err := filepath.Glob(filepath.Join(store, "tmp-*")); err != nil || len(left) > 0 || exists(filepath.Join(store, "apt")) {
				t.Errorf("left behind %q, %v", left, err)
			}
		})
	}
}

// TestVerify has damage that no stamp shows: the record itself
// is made to hold the stamp of the damaged file. Find cannot see it, Verify must.
func TestVerify(t *testing.T) {
	r := newRepo(t)
	opts := testOptions(t, r)
	tc := mustFind(t, opts)
	r.Stop()
	_, mended, err := Verify(t.Context(), opts)
	if err != nil || len(mended) > 0 {
		t.Fatalf("a good cache: %q, %v", mended, err)
	}
	rewrite(t, tc.Kernel.Image)
	kernel := tree{filepath.Join(opts.CacheDir, "toolchain", tc.Content(PartKernel).Folder)}
	must(t, kernel.restamp())
	deb := filepath.Join(opts.CacheDir, "toolchain", debsDir, tc.Content(PartBusybox).Packages[0].Filename)
	rewrite(t, deb)
	before := snapshot(t, kernel.dir)
	mustFind(t, opts)
	if diff := cmp.Diff(before, snapshot(t, kernel.dir)); diff != "" {
		t.Fatalf("the test means to hide the damage, but Find saw it:\n%s", diff)
	}
	_, mended, err = Verify(t.Context(), opts)
	if err != nil || len(mended) != 2 {
		t.Fatalf("mended %q, %v, want kernel and package", mended, err)
	}
	if damage, _, err := kernel.check(t.Context(), true); err != nil || len(damage) > 0 {
		t.Errorf("kernel is still damaged: %q, %v", damage, err)
	}
	if exists(deb) {
		t.Error("the damaged package is still there")
	}
	if _, mended, err = Verify(t.Context(), opts); err != nil || len(mended) > 0 {
		t.Errorf("after that: %q, %v", mended, err)
	}
}

// TestRepairFetches has a package damaged too, so that it must be fetched again.
func TestRepairFetches(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, deb string){
		"modified":  rewrite,
		"truncated": func(t *testing.T, deb string) { must(t, os.Truncate(deb, 100)) },
		"missing":   func(t *testing.T, deb string) { must(t, os.Remove(deb)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			opts := testOptions(t, r)
			tc := mustFind(t, opts)
			must(t, os.Truncate(tc.Busybox, 1))
			spoil(t, filepath.Join(opts.CacheDir, "toolchain", debsDir, tc.Content(PartBusybox).Packages[0].Filename))
			r.Requests()
			again := mustFind(t, opts)
			if b, err := os.ReadFile(again.Busybox); err != nil || string(b) != "\x7fELF static" {
				t.Errorf("busybox is %q, %v", b, err)
			}
			for _, path := range r.Requests() {
				if strings.Contains(path, "/qemu-system") || strings.Contains(path, "/linux-image") {
					t.Errorf("fetched %s for it", path)
				}
			}
		})
	}
	t.Run("without network", func(t *testing.T) {
		r := newRepo(t)
		opts := testOptions(t, r)
		tc := mustFind(t, opts)
		must(t, os.Truncate(tc.Busybox, 1))
		rewrite(t, filepath.Join(opts.CacheDir, "toolchain", debsDir, tc.Content(PartBusybox).Packages[0].Filename))
		r.Stop()
		if _, err := Find(t.Context(), opts); !errors.Is(err, debian.ErrUnreachable) {
			t.Errorf("error %v, want ErrUnreachable", err)
		}
		opts.Parts = PartQEMU | PartKernel // which are whole
		mustFind(t, opts)
	})
	t.Run("version is gone from the archive", func(t *testing.T) {
		r := newRepo(t)
		opts := testOptions(t, r)
		tc := mustFind(t, opts)
		must(t, os.Truncate(tc.QEMU.Path, 1))
		must(t, os.RemoveAll(filepath.Join(opts.CacheDir, "toolchain", debsDir)))
		r.Set(t, "base-backports", qemuDebs("11.1.4")[0])
		if again := mustFind(t, opts); again.QEMU.Version != "11.1.4" {
			t.Errorf("QEMU %s, want what the archive has now", again.QEMU.Version)
		}
	})
}

// TestMovedCache copies the cache, so that every stamp is another, and sees it
// read once and not unpacked.
func TestMovedCache(t *testing.T) {
	r := newRepo(t)
	opts := testOptions(t, r)
	l := &listener{}
	mustFind(t, opts)
	r.Stop()
	moved := filepath.Join(t.TempDir(), "moved")
	if out, err := exec.Command("cp", "-r", opts.CacheDir, moved).CombinedOutput(); err != nil {
		t.Fatalf("copy: %s, %v", out, err)
	}
	opts.CacheDir, opts.Progress = moved, l
	mustFind(t, opts)
	if notes, stages := l.take(); len(notes)+len(stages) > 0 {
		t.Errorf("a copy is taken for damaged: %q %q", notes, stages)
	}
	before := snapshot(t, moved)
	mustFind(t, opts)
	if diff := cmp.Diff(before, snapshot(t, moved)); diff != "" {
		t.Errorf("stamps were not written (-before +after):\n%s", diff)
	}
}

// TestReadOnlyCache uses a cache that nobody may write to.
func TestReadOnlyCache(t *testing.T) {
	r := newRepo(t)
	opts := testOptions(t, r)
	mustFind(t, opts)
	r.Stop()
	must(t, filepath.WalkDir(opts.CacheDir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chmod(p, info.Mode().Perm()&^0o222)
	}))
	t.Cleanup(func() {
		must(t, exec.Command("chmod", "-R", "u+w", opts.CacheDir).Run())
	})
	// The stamps have changed and cannot be written, unless by root.
	mustFind(t, opts)
	mustFind(t, opts)
}

func TestUpdate(t *testing.T) {
	r := newRepo(t)
	opts := testOptions(t, r)
	first := mustFind(t, opts)

	// Nothing newer: nothing changes.
	l := &listener{}
	opts.Progress = l
	_, got, err := Update(t.Context(), opts)
	if err != nil || len(got) > 0 {
		t.Fatalf("nothing to update: %v, %v", got, err)
	}
	if _, stages := l.take(); !cmp.Equal(stages, []string{"package lists", "dependencies", "packages"}) {
		t.Errorf("nothing to update, but stages %q", stages)
	}
	obtained := mustFind(t, opts).Content(PartQEMU).Obtained
	if !obtained.Equal(first.Content(PartQEMU).Obtained) {
		t.Error("says that it was obtained anew")
	}

	newer := qemuDebs("11.2.0")
	newer[0].Depends = "libc6, libnew1"
	r.Set(t, "base-backports", newer[0], debiantest.Deb{Name: "libnew1", Version: "3", Files: map[string]debiantest.File{
		"usr/lib/" + debianTriplet + "/libfake.so.1": {Content: "library\n"},
	}})
	// A newer archive alone changes nothing.
	if tc := mustFind(t, opts); tc.QEMU.Version != "11.1.3" {
		t.Errorf("QEMU %s without being asked", tc.QEMU.Version)
	}
	tc, got, err := Update(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	want := []Change{
		{"libnew1", "", "3"},
		{qemuPackage, "1:11.1.3+ds-1", "1:11.2.0+ds-1"},
		{"libfake1", "1.0-1", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if tc.QEMU.Version != "11.2.0" || mustFind(t, opts).QEMU.Version != "11.2.0" {
		t.Errorf("QEMU %s after the update", tc.QEMU.Version)
	}
	if out, err := first.QEMU.Command(t.Context(), "--version").CombinedOutput(); err != nil {
		t.Errorf("the QEMU that may still be running is gone: %s, %v", out, err)
	}

	// The one after that drops the first.
	r.Set(t, "base-backports", qemuDebs("11.2.1")[0])
	if _, _, err := Update(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	if exists(first.QEMU.Path) {
		t.Error("the first QEMU is still there after two updates")
	}
	for _, p := range first.Content(PartQEMU).Packages {
		if p.Name == qemuPackage && exists(filepath.Join(opts.CacheDir, "toolchain", debsDir, p.Filename)) {
			t.Error("and so is its package")
		}
	}

	// One that fails leaves all as it was.
	r.Stop()
	before := mustFind(t, opts)
	if _, _, err := Update(t.Context(), opts); !errors.Is(err, debian.ErrUnreachable) {
		t.Errorf("error %v, want ErrUnreachable", err)
	}
	if after := mustFind(t, opts); after.QEMU.Path != before.QEMU.Path {
		t.Error("a failed update changed QEMU")
	}
}
