package toolchain

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
)

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
