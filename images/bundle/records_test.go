package bundle_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/bundle/bundletest"
	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/guestprog"
	"github.com/nitrolab/nitrolab/images/initramfs/initramfstest"
)

// ownSpec is an image as nitrolab makes them, with another init, of a kernel and
// modules that are in new folders for each call.
func ownSpec(t testing.TB) bundle.Spec {
	t.Helper()
	image, modules := bundletest.Kernel(t, bundletest.Release)
	return bundle.Spec{
		Kernel:    bundle.Kernel{Image: image, Modules: modules},
		Cmdline:   bundle.Cmdline,
		Bootstrap: bundle.Bootstrap{Init: []byte("INIT")},
		App:       bundle.Records{Files: []cpio.Record{cpio.StaticFile("app", static, 0o755)}, Cmd: []string{"/app"}},
		Name:      "test",
	}
}

func TestRecords(t *testing.T) {
	spec := ownSpec(t)
	mine := cpio.StaticFile("/app", static, 0o755)
	mine.UID, mine.GID, mine.MTime, mine.Ino, mine.NLink = 1000, 1000, 99, 7, 2
	spec.App = bundle.Records{
		Files: []cpio.Record{
			mine, cpio.StaticFile("run/x", "", 0o644), cpio.Directory("/", 0o700),
			cpio.Symlink("tmp", "run"), cpio.CharDev("dev/null", 0o666, 1, 3),
		},
		Cmd: []string{"/app", "-v", "", "with space"},
		Env: []string{"A=1", "B="},
	}
	r, im := build(t, spec)
	var got []string
	for _, l := range initramfstest.Lines(t, im.Ramdisks()[1]) {
		got = append(got, strings.ReplaceAll(l, static, "PROGRAM"))
	}
	want := []string{
		"100644 0:0 n1 i1 cmd = /app\n-v\n\nwith space\n",
		"100644 0:0 n1 i2 env = A=1\nB=\n",
		"40700 0:0 n2 i3 rootfs",
		"100755 0:0 n1 i4 rootfs/app = PROGRAM",
		"40755 0:0 n2 i5 rootfs/dev",
		"20666 0:0 n1 i6 rootfs/dev/null dev 1,3",
		"40755 0:0 n2 i7 rootfs/proc",
		"40755 0:0 n2 i8 rootfs/run",
		"100644 0:0 n1 i9 rootfs/run/x",
		"40755 0:0 n2 i10 rootfs/sys",
		"120777 0:0 n1 i11 rootfs/tmp = run",
		"40755 0:0 n2 i12 rootfs/var",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("application (-want +got):\n%s", diff)
	}
	if len(r.Warnings) != 0 {
		t.Errorf("warnings %q", r.Warnings)
	}
}

// TestOwnBootstrap has init and the modules of the kernel, in the order in which
// they are loaded, and the metadata of nitrolab's images.
func TestOwnBootstrap(t *testing.T) {
	spec := ownSpec(t)
	_, im := build(t, spec)
	want := []string{
		"dev", "dev/console", "init", "modules", "modules/00-virtio_mmio.ko", "modules/01-nsm.ko",
		"modules/02-vsock.ko", "modules/03-vmw_vsock_virtio_transport.ko",
	}
	if diff := cmp.Diff(want, initramfstest.Names(t, im.Ramdisks()[0])); diff != "" {
		t.Errorf("bootstrap (-want +got):\n%s", diff)
	}
	if got, err := im.Cmdline(); err != nil || got != bundle.Cmdline {
		t.Errorf("command line %q, %v", got, err)
	}
	meta, err := im.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	if meta.ImageName != "test" || meta.ImageVersion != "1.0" || meta.Build.KernelVersion != bundletest.Release {
		t.Errorf("metadata %+v %+v", meta, meta.Build)
	}

	// A kernel with everything built in needs no modules.
	spec.Kernel.Modules = ""
	_, im = build(t, spec)
	if diff := cmp.Diff([]string{"dev", "dev/console", "init", "modules"}, initramfstest.Names(t, im.Ramdisks()[0])); diff != "" {
		t.Errorf("bootstrap without modules (-want +got):\n%s", diff)
	}
}

// An image does not depend on where its parts lie, nor its bootstrap on the kind
// of application.
func TestOwnMeasurements(t *testing.T) {
	measure := func(app bundle.App) eif.Measurements {
		t.Helper()
		spec := ownSpec(t)
		if app != nil {
			spec.App = app
		}
		r, _ := build(t, spec)
		return r.Measurements
	}
	first := measure(nil)
	if second := measure(nil); second != first {
		t.Error("other measurements from other folders")
	}
	// The same program as the same file: the same application.
	if binary := measure(bundle.Binary{Path: write(t, t.TempDir(), "server", static, 0o600)}); binary != first {
		t.Error("a binary and the same record have other measurements")
	}
	changed := measure(bundle.Records{Files: []cpio.Record{cpio.StaticFile("app", static, 0o755)}, Cmd: []string{"/app", "-v"}})
	if changed.PCR1 != first.PCR1 || changed.PCR2 == first.PCR2 || changed.PCR0 == first.PCR0 {
		t.Error("another application must change PCR0 and PCR2, and not PCR1")
	}
}

// Without a bootstrap init is the one that guestprog provides.
func TestDefaultBootstrap(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the init program, 10 s or more with an empty cache")
	}
	spec := ownSpec(t)
	spec.Bootstrap = bundle.Bootstrap{}
	_, im := build(t, spec)
	programs, err := guestprog.Get(context.Background(), guestprog.Init)
	if err != nil {
		t.Fatal(err)
	}
	if got := initramfstest.Contents(t, im.Ramdisks()[0])["init"]; got != string(programs[guestprog.Init]) {
		t.Errorf("init has %d bytes, want %d", len(got), len(programs[guestprog.Init]))
	}
}
