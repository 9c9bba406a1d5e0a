package harness_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/harness"
	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/toolchain"
	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
)

// fakeQEMU gives a Host a program in QEMU's place that says a sentence and ends.
// No tool chain is needed then, nothing is kept in the user's cache, and each
// start leaves its mark in the file started.
func fakeQEMU(t testing.TB) (option harness.HostOption, started string) {
	t.Helper()
	return scriptQEMU(t, "echo 'qemu: no such machine' >&2\nexit 1")
}

// scriptQEMU is fakeQEMU with another program, in the language of the shell.
func scriptQEMU(t testing.TB, script string) (option harness.HostOption, started string) {
	t.Helper()
	dir := t.TempDir()
	program, started := filepath.Join(dir, "qemu"), filepath.Join(dir, "started")
	script = "#!/bin/sh\necho x >>'" + started + "'\n" + script + "\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return func(c *emulator.Config) error {
		c.Tools = &toolchain.Toolchain{QEMU: &toolchain.QEMU{Argv: []string{program}}}
		c.CacheDir, c.StateDir = dir, filepath.Join(dir, "state")
		return nil
	}, started
}

// fakeHost is a Host on which no machine starts.
func fakeHost(t testing.TB, opts ...harness.HostOption) *harness.Host {
	t.Helper()
	fake, _ := fakeQEMU(t)
	return harness.New(t, append([]harness.HostOption{fake}, opts...)...)
}

// acpiKernel looks like Debian's kernel, cmdlineKernel like a stock Nitro one.
var (
	acpiKernel    = kernelimagetest.Kernel{Release: "6.12.0-fake", Strings: []string{"LNRO0005"}}
	cmdlineKernel = kernelimagetest.Kernel{Release: "4.14.0-fake", Strings: []string{"virtio,mmio", "virtio-mmio-cmdline", "virtio_mmio.device"}}
)

// fakeSpec is a correct image of a few kilobytes that boots nowhere.
func fakeSpec(t testing.TB, k kernelimagetest.Kernel) eif.Spec {
	t.Helper()
	return eif.Spec{
		Arch:     eif.X86_64,
		Kernel:   section(kernelimagetest.BzImage(k.Release, kernelimagetest.Payload(t, "gzip", k.ELF(t)))),
		Cmdline:  "console=ttyS0",
		Ramdisks: []*io.SectionReader{section([]byte("ramdisk 1")), section([]byte("ramdisk 2"))},
		Metadata: eif.Metadata{ImageName: "fake", ImageVersion: "1"},
	}
}

func section(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

// writeEIF builds spec into a file of the test.
func writeEIF(t testing.TB, spec eif.Spec) (path string, m eif.Measurements) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "image.eif")
	m, err := eif.BuildFile(path, spec)
	if err != nil {
		t.Fatal(err)
	}
	return path, m
}

// fakeEIF is the file of a correct image.
func fakeEIF(t testing.TB) string {
	t.Helper()
	path, _ := writeEIF(t, fakeSpec(t, acpiKernel))
	return path
}

// count is how often the fake QEMU was started.
func count(t testing.TB, started string) int {
	t.Helper()
	b, err := os.ReadFile(started)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}
