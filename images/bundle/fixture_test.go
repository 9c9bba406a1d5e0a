package bundle_test

import (
	"context"
	"debug/elf"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/bundle/bundletest"
	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/initramfs/initramfstest"
)

const interpreter = "/lib64/ld-linux-x86-64.so.2"

var (
	static    = bundletest.Static()
	staticARM = bundletest.Program(elf.EM_AARCH64, elf.ET_EXEC, 1, "")
	dynamic   = bundletest.Program(elf.EM_X86_64, elf.ET_EXEC, 0x400000, interpreter)
	// imageARM is the head of a kernel for aarch64.
	imageARM = strings.Repeat("\x00", 56) + "ARM\x64" + strings.Repeat("\x00", 64)
)

func write(t testing.TB, dir, name, content string, mode os.FileMode) string {
	t.Helper()
	at := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(at, mode); err != nil {
		t.Fatal(err)
	}
	return at
}

func bootstrap() bundle.Bootstrap {
	return bundle.Bootstrap{Records: []cpio.Record{
		cpio.StaticFile("init", "the init", 0o755),
		cpio.StaticFile("modules/nsm.ko", "module", 0o644),
	}}
}

// newSpec is a spec with everything but the application.
func newSpec(t testing.TB, dir string, app bundle.App) bundle.Spec {
	t.Helper()
	return bundle.Spec{
		Kernel:    bundle.Kernel{Image: write(t, dir, "bzImage", string(bundletest.BzImage(t)), 0o644)},
		Cmdline:   "console=ttyS0",
		Bootstrap: bootstrap(),
		App:       app,
		Tool:      "nitrolab", ToolVersion: "0.1",
		TempDir: dir,
	}
}

// build builds and opens an image.
func build(t testing.TB, spec bundle.Spec) (*bundle.Result, *eif.File) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "app.eif")
	r, err := bundle.Build(context.Background(), name, spec)
	if err != nil {
		t.Fatal(err)
	}
	im, err := eif.OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { im.Close() })
	m, err := im.Verify()
	if err != nil {
		t.Fatal(err)
	}
	if m != r.Measurements {
		t.Errorf("measurements of the build and of the file differ")
	}
	return r, im
}

// files reads a ramdisk: name to content, and the order.
func files(t testing.TB, r io.ReaderAt) (map[string]string, string) {
	t.Helper()
	return initramfstest.Contents(t, r), strings.Join(initramfstest.Names(t, r), " ")
}

func fileMode(m int) os.FileMode { return os.FileMode(m) }
