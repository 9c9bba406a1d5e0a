package bootable

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/bootable/bootabletest"
	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/guestprog"
	"github.com/nitrolab/nitrolab/images/initramfs"
	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
)

const release = bootabletest.Release

// kernel makes a kernel and its modules, which say that they are of the given
// release.
func kernel(t *testing.T, moduleRelease string) Kernel {
	image, modules := bootabletest.Kernel(t, moduleRelease)
	return Kernel{image, modules}
}

var app = initramfs.Application{Command: []string{"/app"}, Root: []initramfs.File{cpio.StaticFile("app", "APP", 0o755)}}

// names lists the files of a ramdisk.
func names(t *testing.T, r io.ReaderAt) []string {
	t.Helper()
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(r))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range records {
		names = append(names, r.Name)
	}
	return names
}

func TestNewWithInit(t *testing.T) {
	im, err := NewWithInit(kernel(t, release), []byte("INIT"), app, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	file := filepath.Join(t.TempDir(), "test.eif")
	measured, err := eif.BuildFile(file, im.Spec)
	if err != nil {
		t.Fatal(err)
	}

	got, err := eif.OpenFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if m, err := got.Verify(); err != nil || m.PCR0 != measured.PCR0 {
		t.Errorf("Verify = %v, %v, want PCR0 %v", m.PCR0, err, measured.PCR0)
	}
	if cmdline, err := got.Cmdline(); err != nil || cmdline != Cmdline {
		t.Errorf("command line %q, %v", cmdline, err)
	}
	meta, err := got.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	if meta.ImageName != "test" || meta.Build.KernelVersion != release {
		t.Errorf("metadata %+v %+v", meta, meta.Build)
	}
	var ramdisks [][]string
	for _, r := range got.Ramdisks() {
		ramdisks = append(ramdisks, names(t, r))
	}
	want := [][]string{
		{
			"dev", "dev/console", "init", "modules", "modules/00-virtio_mmio.ko", "modules/01-nsm.ko",
			"modules/02-vsock.ko", "modules/03-vmw_vsock_virtio_transport.ko",
		},
		{"cmd", "env", "rootfs", "rootfs/app", "rootfs/dev", "rootfs/proc", "rootfs/run", "rootfs/sys", "rootfs/tmp"},
	}
	if diff := cmp.Diff(want, ramdisks); diff != "" {
		t.Errorf("ramdisks (-want +got):\n%s", diff)
	}
}

// An image does not depend on where its parts lie, and the application alone
// decides about PCR2.
func TestMeasurements(t *testing.T) {
	measure := func(k Kernel, app initramfs.Application) eif.Measurements {
		t.Helper()
		im, err := NewWithInit(k, []byte("INIT"), app, "test")
		if err != nil {
			t.Fatal(err)
		}
		defer im.Close()
		m, err := eif.BuildFile(filepath.Join(t.TempDir(), "eif"), im.Spec)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	first := measure(kernel(t, release), app)
	if second := measure(kernel(t, release), app); second.PCR0 != first.PCR0 {
		t.Errorf("PCR0 %v from other folders, want %v", second.PCR0, first.PCR0)
	}
	other := app
	other.Command = []string{"/app", "-v"}
	changed := measure(kernel(t, release), other)
	if changed.PCR1 != first.PCR1 || changed.PCR2 == first.PCR2 || changed.PCR0 == first.PCR0 {
		t.Error("another application must change PCR0 and PCR2, and not PCR1")
	}
}

// A kernel with everything built in needs no modules.
func TestNoModules(t *testing.T) {
	k := kernel(t, release)
	k.Modules = ""
	im, err := NewWithInit(k, []byte("INIT"), app, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	if diff := cmp.Diff([]string{"dev", "dev/console", "init", "modules"}, names(t, im.Spec.Ramdisks[0])); diff != "" {
		t.Errorf("ramdisk 0 (-want +got):\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	good := kernel(t, release)
	elf := filepath.Join(t.TempDir(), "vmlinux")
	if err := os.WriteFile(elf, kernelimagetest.Kernel{}.ELF(t), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		k    Kernel
		app  initramfs.Application
		want string
	}{
		{"no kernel", Kernel{Image: good.Image + "x"}, app, "open kernel"},
		{"no bzImage", Kernel{Image: elf}, app, "an image holds a bzImage"},
		{"no kernel at all", Kernel{Image: filepath.Join(good.Modules, "nsm.ko")}, app, "kernel "},
		{"modules of another kernel", kernel(t, "6.12.2-test"), app, `of kernel "6.12.2-test"`},
		{"no modules", Kernel{good.Image, t.TempDir()}, app, "module folder"},
		{"no command", good, initramfs.Application{}, "no command"},
		{"file twice", good, initramfs.Application{Command: []string{"a"}, Root: append(app.Root, app.Root...)}, "two files"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			im, err := NewWithInit(tt.k, []byte("INIT"), tt.app, "broken")
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "broken") {
				t.Errorf("error %v, want %q and the image's name", err, tt.want)
			}
			if im != nil {
				t.Error("an image beside the error")
			}
		})
	}
}

// The init in an image is the one that guestprog provides.
func TestNew(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the init program, 10 s or more with an empty cache")
	}
	im, err := New(context.Background(), kernel(t, release), app, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	programs, err := guestprog.Get(context.Background(), guestprog.Init)
	if err != nil {
		t.Fatal(err)
	}
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(im.Spec.Ramdisks[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r.Name != "init" {
			continue
		}
		got, err := io.ReadAll(io.NewSectionReader(r.ReaderAt, 0, int64(r.FileSize)))
		if err != nil || !bytes.Equal(got, programs[guestprog.Init]) {
			t.Errorf("init has %d bytes, %v, want %d", len(got), err, len(programs[guestprog.Init]))
		}
		return
	}
	t.Error("no init")
}
