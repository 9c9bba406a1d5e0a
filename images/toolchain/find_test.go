package toolchain

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/nitrolab/nitrolab/images/toolchain/debian"
	"github.com/nitrolab/nitrolab/images/toolchain/debian/debiantest"
	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
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
	want := []string{"package lists", "packages", "unpack qemu", "unpack kernel", "unpack busybox"}
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

func TestOrder(t *testing.T) {
	r := newRepo(t)
	good := func(t *testing.T) string {
		dir := t.TempDir()
		writeTestFile(t, filepath.Join(dir, "libfake.so.1"), "library\n", 0o644)
		name := filepath.Join(dir, "qemu-system-x86_64")
		writeTestFile(t, name, "#!/bin/sh\nLIBS="+dir+"\n"+emulatorScript("10.2.0", allDevices), 0o755)
		return name
	}
	t.Run("system QEMU with the devices", func(t *testing.T) {
		opts := testOptions(t, r)
		name := good(t)
		t.Setenv("PATH", filepath.Dir(name)+":"+os.Getenv("PATH"))
		r.Requests()
		tc := mustFind(t, opts)
		if tc.QEMU.Source != System || tc.QEMU.Path != name || tc.QEMU.Version != "10.2.0" {
			t.Errorf("QEMU is %+v, want the system's", tc.QEMU)
		}
		for _, path := range r.Requests() {
			if strings.Contains(path, "qemu") {
				t.Errorf("asked the archive for %s", path)
			}
		}
	})
	t.Run("explicit before system", func(t *testing.T) {
		opts := testOptions(t, r)
		opts.Parts = PartQEMU
		system, named := good(t), good(t)
		t.Setenv("PATH", filepath.Dir(system)+":"+os.Getenv("PATH"))
		t.Setenv(EnvQEMU, named)
		if tc := mustFind(t, opts); tc.QEMU.Source != Explicit || tc.QEMU.Path != named {
			t.Errorf("QEMU is %+v, want the one named", tc.QEMU)
		}
		opts.QEMU = system // the option counts more than the environment
		if tc := mustFind(t, opts); tc.QEMU.Path != system {
			t.Errorf("QEMU is %+v, want the one of the option", tc.QEMU)
		}
	})
	t.Run("explicit without the devices", func(t *testing.T) {
		opts := testOptions(t, r)
		opts.QEMU = "qemu-system-x86_64" // found on the path
		_, err := Find(t.Context(), opts)
		var missing *MissingDevicesError
		if !errors.As(err, &missing) {
			t.Fatalf("error %v, want MissingDevicesError", err)
		}
		if missing.Version != "7.2.0" || !cmp.Equal(missing.Missing, Devices) {
			t.Errorf("error says %+v", missing)
		}
		for _, word := range []string{"7.2.0", "vfio-user-pci", "vhost-user-test-device", "10.2"} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q does not say %s", err, word)
			}
		}
	})
	t.Run("explicit that is not there", func(t *testing.T) {
		opts := testOptions(t, r)
		opts.QEMU = filepath.Join(t.TempDir(), "nothing")
		if _, err := Find(t.Context(), opts); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v, want ErrNotExist", err)
		}
	})
	t.Run("explicit that fails", func(t *testing.T) {
		opts := testOptions(t, r)
		opts.QEMU = filepath.Join(t.TempDir(), "broken")
		writeTestFile(t, opts.QEMU, "#!/bin/sh\necho it is broken >&2\nexit 3\n", 0o755)
		if _, err := Find(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "it is broken") {
			t.Errorf("error %v does not say what it said", err)
		}
	})
	t.Run("explicit that says too much", func(t *testing.T) {
		opts := testOptions(t, r)
		opts.QEMU = filepath.Join(t.TempDir(), "chatty")
		writeTestFile(t, opts.QEMU, "#!/bin/sh\nyes\n", 0o755)
		if _, err := Find(t.Context(), opts); err == nil {
			t.Error("no error")
		}
	})
}

func TestEverythingExplicit(t *testing.T) {
	r := newRepo(t)
	r.Stop()
	opts := testOptions(t, r)
	dir := t.TempDir()
	writeTestFile(t, filepath.Join(dir, "libfake.so.1"), "library\n", 0o644)
	writeTestFile(t, filepath.Join(dir, "qemu"), "#!/bin/sh\nLIBS="+dir+"\n"+emulatorScript("10.2.0", allDevices), 0o755)
	writeTestFile(t, filepath.Join(dir, "busybox"), "\x7fELF", 0o755)
	kernel := kernelimagetest.Kernel{Release: "6.6.79", PVH: true, Config: "CONFIG_NSM=y\n"}
	image := filepath.Join(dir, "bzImage")
	writeTestFile(t, image, string(kernelimagetest.BzImage("6.6.79", kernelimagetest.Payload(t, "gzip", kernel.ELF(t)))), 0o644)
	writeTestFile(t, filepath.Join(dir, "mods/modules.dep"), "", 0o644)
	opts.QEMU, opts.Busybox, opts.Kernel, opts.KernelModules = filepath.Join(dir, "qemu"), filepath.Join(dir, "busybox"), image, filepath.Join(dir, "mods")

	tc := mustFind(t, opts)
	if tc.Kernel.Source != Explicit || tc.Kernel.Release != "6.6.79" || tc.Kernel.ModulesDir != opts.KernelModules ||
		!tc.Kernel.HasConfig("NSM") || !exists(tc.Kernel.Vmlinux) || tc.Busybox != opts.Busybox {
		t.Errorf("got %+v %+v", tc, tc.Kernel)
	}
	before := snapshot(t, opts.CacheDir)
	mustFind(t, opts)
	if diff := cmp.Diff(before, snapshot(t, opts.CacheDir)); diff != "" {
		t.Errorf("the kernel was unpacked again (-before +after):\n%s", diff)
	}

	t.Run("damaged vmlinux is made again", func(t *testing.T) {
		if err := os.Truncate(tc.Kernel.Vmlinux, 100); err != nil {
			t.Fatal(err)
		}
		again := mustFind(t, opts)
		if info, err := os.Stat(again.Kernel.Vmlinux); err != nil || info.Size() != int64(len(kernel.ELF(t))) {
			t.Errorf("vmlinux is %v, %v", info, err)
		}
	})
	t.Run("changed image is looked at again", func(t *testing.T) {
		other := kernelimagetest.Kernel{Release: "6.6.80"} // without PVH
		writeTestFile(t, image, string(kernelimagetest.BzImage("6.6.80", kernelimagetest.Payload(t, "gzip", other.ELF(t)))), 0o644)
		if again := mustFind(t, opts); again.Kernel.Release != "6.6.80" || again.Kernel.Vmlinux != "" {
			t.Errorf("kernel is %+v, want 6.6.80 without vmlinux", again.Kernel)
		}
	})
	t.Run("ELF", func(t *testing.T) {
		opts.Kernel = filepath.Join(dir, "vmlinux")
		writeTestFile(t, opts.Kernel, string(kernel.ELF(t)), 0o644)
		for range 2 {
			if again := mustFind(t, opts); again.Kernel.Vmlinux != opts.Kernel {
				t.Errorf("vmlinux is %q, want the image itself", again.Kernel.Vmlinux)
			}
		}
		writeTestFile(t, opts.Kernel, string(kernelimagetest.Kernel{Release: "6"}.ELF(t)), 0o644)
		if _, err := Find(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "PVH") {
			t.Errorf("an ELF that cannot boot: error %v", err)
		}
	})
	t.Run("no kernel", func(t *testing.T) {
		for name, path := range map[string]string{"absent": filepath.Join(dir, "none"), "a folder": dir, "no image": filepath.Join(dir, "busybox")} {
			opts.Kernel = path
			if _, err := Find(t.Context(), opts); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: error %v does not name it", name, err)
			}
		}
	})
	t.Run("few are kept", func(t *testing.T) {
		for i := range keptKernels + 3 {
			opts.Kernel = filepath.Join(dir, "k", string(rune('a'+i)))
			writeTestFile(t, opts.Kernel, string(kernel.ELF(t)), 0o644)
			mustFind(t, opts)
		}
		entries, err := os.ReadDir(filepath.Join(opts.CacheDir, "toolchain", kernelsDir))
		if err != nil || len(entries) != keptKernels {
			t.Errorf("%d kernels kept, %v, want %d", len(entries), err, keptKernels)
		}
	})
}

func TestUnavailable(t *testing.T) {
	tests := []struct {
		name  string
		setup func(t *testing.T, r *debiantest.Repo, o *Options)
		want  error
		says  []string
	}{
		{
			name:  "no network",
			setup: func(t *testing.T, r *debiantest.Repo, _ *Options) { r.Stop() },
			want:  debian.ErrUnreachable,
			says:  []string{"qemu, kernel and busybox", "not cached", "cannot be reached", EnvQEMU, EnvKernel, "network"},
		},
		{
			name: "mirror without backports",
			setup: func(t *testing.T, r *debiantest.Repo, _ *Options) {
				r.Drop(t, "base-backports")
			},
			want: debian.ErrNotThere,
			says: []string{"base and base-backports", "next", "Release file", EnvMirror},
		},
		{
			name: "QEMU in the archive is too old",
			setup: func(t *testing.T, r *debiantest.Repo, _ *Options) {
				r.Set(t, "base-backports", qemuDebs("10.1.9")[0])
			},
			want: debian.ErrNotThere,
			says: []string{"10.1.9", "needed is 10.2"},
		},
		{
			name: "no kernel in the archive",
			setup: func(t *testing.T, r *debiantest.Repo, _ *Options) {
				r.Set(t, "base", append(qemuDebs("10.0.1"), busyboxDeb)...)
			},
			want: debian.ErrNotThere,
			says: []string{kernelPackage},
		},
		{
			name: "package is gone",
			setup: func(t *testing.T, r *debiantest.Repo, _ *Options) {
				if err := os.RemoveAll(filepath.Join(r.Dir, "pool")); err != nil {
					t.Fatal(err)
				}
			},
			want: debian.ErrNotThere,
			says: []string{"do not fit together", "404", "try again"},
		},
		{
			name: "signed by another",
			setup: func(t *testing.T, _ *debiantest.Repo, o *Options) {
				o.Keyring = debiantest.New(t).Keyring
			},
			want: debian.ErrSignature,
			says: []string{"not signed by a key in the keyring", "debian-archive-keyring", EnvKeyring},
		},
		{
			name: "little room",
			setup: func(t *testing.T, _ *debiantest.Repo, o *Options) {
				o.free = func(string) (int64, error) { return 4096, nil }
			},
			want: debian.ErrNoSpace,
			says: []string{"MB needed", "0 MB free", EnvCache},
		},
		{
			name: "no apt",
			setup: func(t *testing.T, _ *debiantest.Repo, _ *Options) {
				t.Setenv("PATH", t.TempDir())
			},
			want: debian.ErrNoApt,
			says: []string{"no apt", EnvQEMU, EnvKernel, EnvBusybox},
		},
		{
			name: "cache is a file",
			setup: func(t *testing.T, _ *debiantest.Repo, o *Options) {
				writeTestFile(t, o.CacheDir, "", 0o644)
			},
			want: ErrUnavailable,
			says: []string{"cannot write the cache", EnvCache},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRepo(t)
			opts := testOptions(t, r)
			tt.setup(t, r, &opts)
			_, err := Find(t.Context(), opts)
			if !errors.Is(err, tt.want) || !errors.Is(err, ErrUnavailable) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			for _, s := range tt.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q\ndoes not say %q", err, s)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			leftovers, globErr := filepath.Glob(filepath.Join(opts.CacheDir, "toolchain", "tmp-*"))
			if globErr != nil || len(leftovers) > 0 || exists(filepath.Join(opts.CacheDir, "toolchain", "apt")) {
				t.Errorf("left behind %q, %v", leftovers, globErr)
			}
		})
	}
}

func TestFallbackSuite(t *testing.T) {
	r := newRepo(t)
	r.Drop(t, "base-backports")
	r.Set(t, "next", append(append(qemuDebs("11.2.0"), kernelDebs(t, "7.0.1+test-cloud-amd64")...), busyboxDeb)...)
	tc := mustFind(t, testOptions(t, r))
	if tc.QEMU.Version != "11.2.0" || tc.Kernel.Release != "7.0.1+test-cloud-amd64" {
		t.Errorf("QEMU %s, kernel %s, want those of the next suite", tc.QEMU.Version, tc.Kernel.Release)
	}
	if got := tc.Content(PartKernel).Packages[0].Suite; got != "next" {
		t.Errorf("kernel is of suite %q", got)
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
		if !errors.As(err, &missing) || len(missing.Missing) != 2 {
			t.Errorf("error %v, want MissingDevicesError of two", err)
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
