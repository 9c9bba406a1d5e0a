package toolchain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/nitrolab/nitrolab/images/toolchain/debian/debiantest"
)

func replaceAll(s string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(s) }

// mustFind finds the tool chain and checks that QEMU starts.
func mustFind(t *testing.T, opts Options) *Toolchain {
	t.Helper()
	tc, err := Find(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if tc.QEMU != nil {
		out, err := tc.QEMU.Command(t.Context(), "--version").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "version "+tc.QEMU.Version) {
			t.Fatalf("QEMU of the tool chain says %q, %v", out, err)
		}
	}
	return tc
}

func TestFind(t *testing.T) {
	r := newRepo(t)
	opts := testOptions(t, r)
	l := &listener{}
	opts.Progress = l
	tc := mustFind(t, opts)

	if tc.QEMU.Source != Debian || tc.QEMU.Version != "11.1.3" {
		t.Errorf("QEMU is %s of %s, want 11.1.3 of Debian", tc.QEMU.Version, tc.QEMU.Source)
	}
	k := tc.Kernel
	if k.Release != fakeRelease || !k.HasConfig("VIRTIO_MMIO") || k.HasConfig("NSM") {
		t.Errorf("kernel %+v", k)
	}
	for what, name := range map[string]string{
		"image": k.Image, "vmlinux": k.Vmlinux, "config": k.ConfigFile, "busybox": tc.Busybox,
		"module":   filepath.Join(k.ModulesDir, "kernel/virtio_mmio.ko.xz"),
		"firmware": filepath.Join(tc.QEMU.Path, "../../share/qemu/bios.bin"),
	} {
		if !filepath.IsAbs(name) || !exists(name) {
			t.Errorf("%s: no file %q", what, name)
		}
	}
	if b, err := os.ReadFile(k.Vmlinux); err != nil || !strings.HasPrefix(string(b), "\x7fELF") {
		t.Errorf("vmlinux is no ELF: %v", err)
	}
	for _, unwanted := range []string{"doc", "i386", "System.map", "build"} {
		if out, err := exec.Command("find", opts.CacheDir, "-name", "*"+unwanted+"*").Output(); err != nil || len(out) > 0 {
			t.Errorf("kept %s, %v", out, err)
		}
	}
	_, stages := l.take()
	want := []string{"package lists", "dependencies", "packages", "unpack qemu", "unpack kernel", "unpack busybox"}
	if diff := cmp.Diff(want, stages); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}

	t.Run("records", func(t *testing.T) {
		got := tc.Records()
		want := []Record{
			{Part: "qemu", Source: Debian, Version: "11.1.3", Package: qemuPackage, Suite: "base-backports", Path: tc.QEMU.Path},
			{Part: "qemu", Source: Debian, Version: "2.41-1", Package: "libc6", Suite: "base"},
			{Part: "qemu", Source: Debian, Version: "1.0-1", Package: "libfake1", Suite: "base"},
			{Part: "kernel", Source: Debian, Version: fakeRelease, Package: "linux-image-" + fakeRelease, Suite: "base", Path: k.Image},
			{Part: "busybox", Source: Debian, Version: "1:1.37.0-1", Package: busyboxPackage, Suite: "base", Path: tc.Busybox},
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Record{}, "SHA256")); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		for _, rec := range got {
			if len(rec.SHA256) != 64 {
				t.Errorf("record of %s has hash %q", rec.Package, rec.SHA256)
			}
		}
	})
	t.Run("second time without network", func(t *testing.T) {
		r.Stop()
		before := snapshot(t, opts.CacheDir)
		again := mustFind(t, opts)
		if diff := cmp.Diff(tc.QEMU.Argv, again.QEMU.Argv); diff != "" {
			t.Errorf("another QEMU (-first +second):\n%s", diff)
		}
		if diff := cmp.Diff(before, snapshot(t, opts.CacheDir)); diff != "" {
			t.Errorf("the cache was written (-before +after):\n%s", diff)
		}
		if notes, stages := l.take(); len(notes)+len(stages) != 0 {
			t.Errorf("it told %q %q, want silence", notes, stages)
		}
	})
}

// snapshot gives every file below dir with its stamp.
func snapshot(t *testing.T, dir string) map[string]stamp {
	t.Helper()
	out := map[string]stamp{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		out[p], err = stampOf(info)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFindParts(t *testing.T) {
	r := newRepo(t)
	opts := testOptions(t, r)
	opts.Parts = PartBusybox
	tc := mustFind(t, opts)
	if tc.QEMU != nil || tc.Kernel != nil || tc.Busybox == "" {
		t.Errorf("asked for busybox, got %+v", tc)
	}
	for _, path := range r.Requests() {
		if strings.Contains(path, "qemu") || strings.Contains(path, "backports") {
			t.Errorf("asked the archive for %s", path)
		}
	}
	// The rest comes when it is wanted, beside what is there.
	opts.Parts = 0
	before := tc.Busybox
	if tc = mustFind(t, opts); tc.Busybox != before || tc.QEMU == nil || tc.Kernel == nil {
		t.Errorf("asked for all, got %+v", tc)
	}
}

func TestBadPackages(t *testing.T) {
	t.Run("QEMU does not start", func(t *testing.T) {
		r := newRepo(t)
		debs := baseDebs(t)
		debs[1].Files = nil // the library is not in its package
		r.Set(t, "base", debs...)
		_, err := Find(t.Context(), testOptions(t, r))
		if err == nil || !strings.Contains(err.Error(), "libfake.so.1: cannot open") {
			t.Errorf("error %v does not say why", err)
		}
	})
	t.Run("QEMU lacks devices", func(t *testing.T) {
		r := newRepo(t)
		d := qemuDebs("11.1.3")[0]
		d.Files[debianQEMUBin] = debiantest.File{Content: emulatorScript("11.1.3", "vfio-user-pci"), Mode: 0o755}
		r.Set(t, "base-backports", d)
		_, err := Find(t.Context(), testOptions(t, r))
		var missing *MissingDevicesError
		if !errors.As(err, &missing) || len(missing.Missing) != len(Devices)-1 {
			t.Errorf("error %v, want MissingDevicesError of all but one", err)
		}
	})
	t.Run("kernel is no kernel", func(t *testing.T) {
		r := newRepo(t)
		debs := kernelDebs(t, fakeRelease)
		debs[1].Files["boot/vmlinuz-"+fakeRelease] = debiantest.File{Content: "no"}
		r.Set(t, "base", append(append(qemuDebs("10.0.1"), debs...), busyboxDeb)...)
		opts := testOptions(t, r)
		if _, err := Find(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "prepare kernel") {
			t.Errorf("error %v does not name the kernel", err)
		}
		// What was right is not thrown away with it.
		opts.Parts = PartQEMU
		mustFind(t, opts)
	})
}

func TestCancelled(t *testing.T) {
	r := newRepo(t)
	opts := testOptions(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Find(ctx, opts); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestEnviron(t *testing.T) {
	base := []string{"HOME=/h", "LD_PRELOAD=x.so", "LD_LIBRARY_PATH=/l", "QEMU_MODULE_DIR=/old"}
	q := &QEMU{Source: Debian, Argv: []string{"ld.so", "qemu"}, Env: []string{"QEMU_MODULE_DIR=/new"}}
	if diff := cmp.Diff([]string{"HOME=/h", "QEMU_MODULE_DIR=/new"}, q.Environ(base)); diff != "" {
		t.Errorf("environment of Debian's QEMU (-want +got):\n%s", diff)
	}
	q = &QEMU{Source: System, Argv: []string{"qemu"}}
	if diff := cmp.Diff(base, q.Environ(base)); diff != "" {
		t.Errorf("environment of the system's QEMU (-want +got):\n%s", diff)
	}
	// Two commands of one QEMU must not share arguments.
	a, b := q.Command(t.Context(), "-a"), q.Command(t.Context(), "-b")
	if a.Args[1] != "-a" || b.Args[1] != "-b" || len(q.Argv) != 1 {
		t.Errorf("arguments %q and %q", a.Args, b.Args)
	}
}

func TestParseVersion(t *testing.T) {
	for in, want := range map[string]version{
		"11.1.3": {11, 1}, "1:11.1.3+ds-1~bpo13+1": {11, 1}, "10.2": {10, 2}, "10.2~rc1": {10, 2},
	} {
		if got, ok := parseVersion(in); !ok || got != want {
			t.Errorf("%q is %v, %v, want %v", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "x", "11", "a.b", "1:", "-1.2"} {
		if got, ok := parseVersion(in); ok {
			t.Errorf("%q is taken for %v", in, got)
		}
	}
	for in, want := range map[version]bool{{10, 1}: true, {9, 9}: true, {10, 2}: false, {11, 0}: false} {
		if got := in.less(minQEMU); got != want {
			t.Errorf("%v less than %v: %v", in, minQEMU, got)
		}
	}
}

// BenchmarkFindFull finds the tool chain in a full cache with as many files as a
// real one, which is what every start of nitrolab pays.
func BenchmarkFindFull(b *testing.B) {
	r := newRepo(b)
	debs := baseDebs(b)
	for i := range debs {
		if debs[i].Name == "linux-image-"+fakeRelease {
			for n := range 1150 {
				debs[i].Files[fmt.Sprintf("usr/lib/modules/%s/kernel/drivers/net/ethernet/m%04d.ko.xz", fakeRelease, n)] = debiantest.File{Content: "module"}
			}
		}
	}
	r.Set(b, "base", debs...)
	opts := testOptions(b, r)
	if _, err := Find(b.Context(), opts); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Find(b.Context(), opts); err != nil {
			b.Fatal(err)
		}
	}
}
