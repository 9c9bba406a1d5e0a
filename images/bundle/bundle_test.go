package bundle_test

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/bundle/bundletest"
	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/rootfs"
	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
)

// TestLayout compares with what nitro-cli puts where.
func TestLayout(t *testing.T) {
	dir := t.TempDir()
	spec := newSpec(t, dir, bundle.Binary{
		Path: write(t, dir, "server", static, 0o600), Args: []string{"--port", "5000", ""}, Env: []string{"A=1", "B=x y"},
	})
	spec.BuildTime = time.Unix(1700000000, 0)
	spec.CustomMetadata = json.RawMessage(`{"team":"a"}`)
	r, im := build(t, spec)
	if diff := cmp.Diff([]string{"/app", "--port", "5000", ""}, r.Command); diff != "" {
		t.Error(diff)
	}
	if len(r.Warnings) != 0 {
		t.Errorf("warnings %q", r.Warnings)
	}
	if len(im.Ramdisks()) != 2 {
		t.Fatalf("%d ramdisks", len(im.Ramdisks()))
	}
	first, order := files(t, im.Ramdisks()[0])
	if want := "dev init modules modules/nsm.ko"; order != want || first["init"] != "the init" {
		t.Errorf("bootstrap has %s, want %s", order, want)
	}
	second, order := files(t, im.Ramdisks()[1])
	if want := "cmd env rootfs rootfs/app rootfs/dev rootfs/proc rootfs/run rootfs/sys rootfs/tmp rootfs/var"; order != want {
		t.Errorf("application has %s, want %s", order, want)
	}
	if second["cmd"] != "/app\n--port\n5000\n\n" || second["env"] != "A=1\nB=x y\n" || second["rootfs/app"] != static {
		t.Errorf("cmd %q, env %q", second["cmd"], second["env"])
	}
	for i, d := range im.Ramdisks() {
		if d.Size()%4 != 0 || d.Size() != r.RamdiskSizes[i] {
			t.Errorf("ramdisk %d has %d bytes, the result says %d", i, d.Size(), r.RamdiskSizes[i])
		}
	}
	if n := im.Kernel().Size(); n != r.KernelSize {
		t.Errorf("kernel has %d bytes, the result says %d", n, r.KernelSize)
	}
	if w, err := im.Warnings(); err != nil || len(w) != 0 {
		t.Errorf("warnings of the image: %q, %v", w, err)
	}
	if got, err := im.Cmdline(); err != nil || got != "console=ttyS0" {
		t.Errorf("command line %q, %v", got, err)
	}
	meta, err := im.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	want := &eif.Metadata{
		ImageName: "app", ImageVersion: "1.0",
		Build:          &eif.BuildMetadata{BuildTime: "2023-11-14T22:13:20+00:00", BuildTool: "nitrolab", BuildToolVersion: "0.1", OperatingSystem: "Linux", KernelVersion: "6.12.1-test"},
		CustomMetadata: json.RawMessage(`{"team":"a"}`),
	}
	if diff := cmp.Diff(want, meta); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	out, err := json.Marshal(r)
	if err != nil || !strings.HasPrefix(string(out), `{"Measurements":{"HashAlgorithm":"Sha384 { ... }","PCR0":"`) {
		t.Errorf("%s, %v", out, err)
	}
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	write(t, root, "usr/bin/tool", static, 0o755)
	write(t, root, "etc/config", "c", 0o640)
	if err := os.Symlink("usr/bin", filepath.Join(root, "bin")); err != nil {
		t.Fatal(err)
	}
	_, im := build(t, newSpec(t, dir, bundle.Directory{Path: root, Cmd: []string{"tool", "-v"}}))
	got, order := files(t, im.Ramdisks()[1])
	if want := "cmd env rootfs rootfs/bin rootfs/dev rootfs/etc rootfs/etc/config rootfs/proc rootfs/run rootfs/sys rootfs/tmp rootfs/usr rootfs/usr/bin rootfs/usr/bin/tool rootfs/var"; order != want {
		t.Errorf("got %s\nwant %s", order, want)
	}
	if got["cmd"] != "tool\n-v\n" || got["env"] != "" || got["rootfs/etc/config"] != "c" || got["rootfs/bin"] != "usr/bin" {
		t.Errorf("%q", got)
	}
}

// TestDeterministic builds in two places with the inputs copied, at other
// times, by another umask: not one byte may differ.
func TestDeterministic(t *testing.T) {
	var images [][]byte
	for i := range 2 {
		dir := t.TempDir()
		root := filepath.Join(dir, strings.Repeat("deep/", i), "root")
		write(t, root, "bin/tool", static, 0o755)
		write(t, root, "a/b", "b", 0o644)
		write(t, root, "a-b", "b", 0o644)
		at := time.Unix(int64(1e9*(i+1)), 0)
		if err := os.Chtimes(filepath.Join(root, "a/b"), at, at); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(root, os.FileMode(0o700|i*0o55)); err != nil {
			t.Fatal(err)
		}
		spec := newSpec(t, dir, bundle.Directory{Path: root, Cmd: []string{"/bin/tool"}})
		name := filepath.Join(dir, "app.eif")
		if _, err := bundle.Build(context.Background(), name, spec); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, b)
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("two builds differ")
	}
}

// TestBinaryNameNotMeasured renames the program.
func TestBinaryNameNotMeasured(t *testing.T) {
	var m [2]eif.Measurements
	for i, name := range []string{"server", "server-v2"} {
		dir := t.TempDir()
		r, _ := build(t, newSpec(t, dir, bundle.Binary{Path: write(t, dir, name, static, 0o755)}))
		m[i] = r.Measurements
	}
	if m[0] != m[1] {
		t.Error("the name of the program on the host is measured")
	}
}

// TestPCRsSeparate changes one part at a time.
func TestPCRsSeparate(t *testing.T) {
	dir := t.TempDir()
	base := newSpec(t, dir, bundle.Binary{Path: write(t, dir, "server", static, 0o755)})
	r0, _ := build(t, base)
	tests := []struct {
		name             string
		change           func(*bundle.Spec)
		pcr0, pcr1, pcr2 bool // changed
	}{
		{"argument", func(s *bundle.Spec) { s.App = bundle.Binary{Path: filepath.Join(dir, "server"), Args: []string{"x"}} }, true, false, true},
		{"environment", func(s *bundle.Spec) { s.App = bundle.Binary{Path: filepath.Join(dir, "server"), Env: []string{"A=1"}} }, true, false, true},
		{"command line", func(s *bundle.Spec) { s.Cmdline += " quiet" }, true, true, false},
		{"bootstrap", func(s *bundle.Spec) {
			s.Bootstrap.Records = []cpio.Record{cpio.StaticFile("init", "other", 0o755)}
		}, true, true, false},
		{"name and time", func(s *bundle.Spec) { s.Name, s.Version, s.BuildTime = "n", "v", time.Unix(5, 0) }, false, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := base
			spec.Bootstrap = bootstrap()
			tt.change(&spec)
			r, _ := build(t, spec)
			a, b := r0.Measurements, r.Measurements
			if (a.PCR0 != b.PCR0) != tt.pcr0 || (a.PCR1 != b.PCR1) != tt.pcr1 || (a.PCR2 != b.PCR2) != tt.pcr2 {
				t.Errorf("changed: PCR0 %v, PCR1 %v, PCR2 %v", a.PCR0 != b.PCR0, a.PCR1 != b.PCR1, a.PCR2 != b.PCR2)
			}
		})
	}
}

func TestBootstrapRamdisk(t *testing.T) {
	dir := t.TempDir()
	spec := newSpec(t, dir, bundle.Binary{Path: write(t, dir, "server", static, 0o755)})
	section := func(s string) *io.SectionReader { return io.NewSectionReader(strings.NewReader(s), 0, int64(len(s))) }

	spec.Bootstrap = bundle.Bootstrap{Ramdisk: section("070701 as it is!")}
	r, im := build(t, spec)
	if got := read(t, im.Ramdisks()[0]); got != "070701 as it is!" || len(r.Warnings) != 0 {
		t.Errorf("%q, warnings %q", got, r.Warnings)
	}
	spec.Bootstrap = bundle.Bootstrap{Ramdisk: section("\x1f\x8bodd")}
	r, im = build(t, spec)
	if got := read(t, im.Ramdisks()[0]); got != "\x1f\x8bodd\x00\x00\x00" || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "has 5 bytes; 3 zeros were added") {
		t.Errorf("%q, warnings %q", got, r.Warnings)
	}
	if w, err := im.Warnings(); err != nil || len(w) != 0 {
		t.Errorf("%q, %v", w, err)
	}
}

func read(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestBuildRefuses(t *testing.T) {
	dir := t.TempDir()
	good := write(t, dir, "server", static, 0o755)
	root := filepath.Join(dir, "root")
	write(t, root, "bin/tool", static, 0o755)
	write(t, root, "a\nb", "a name with a newline is fine", 0o644)
	notDir := filepath.Join(dir, "notdir")
	write(t, notDir, "tool", static, 0o755)
	file := func(s string) *io.SectionReader { return io.NewSectionReader(strings.NewReader(s), 0, int64(len(s))) }
	app := func(a bundle.App) func(*bundle.Spec) { return func(s *bundle.Spec) { s.App = a } }
	kernel := func(content string) func(*bundle.Spec) {
		return func(s *bundle.Spec) { s.Kernel.Image = write(t, t.TempDir(), "kernel", content, 0o644) }
	}
	without := func(at int, v byte) string {
		b := bundletest.BzImage(t)
		b[at] = v
		return string(b)
	}
	tests := []struct {
		name   string
		change func(*bundle.Spec)
		want   string
	}{
		{"no application", app(nil), "no application given"},
		{"no kernel", func(s *bundle.Spec) { s.Kernel.Image = filepath.Join(dir, "none") }, "no such file"},
		{"kernel is a directory", func(s *bundle.Spec) { s.Kernel.Image = dir }, "not a regular file"},
		{"kernel is something else", kernel(strings.Repeat("hello", 1000)), "not a usable Linux kernel image"},
		{"kernel is empty", kernel(""), "not a usable Linux kernel image"},
		{"zImage", kernel(without(0x211, 0)), "a zImage, allowed is a bzImage"},
		{"32-bit kernel", kernel(without(0x236, 0)), "a kernel for 32 bits"},
		{"32-bit ELF kernel", kernel(elf32(t)), "a kernel for 32 bits"},
		{"arm64 kernel", kernel(imageARM), "is for aarch64, wanted is x86_64"},
		{"arm64 ELF kernel", kernel(staticARM), "machine 183 is not x86"},
		{"ELF kernel of another machine", kernel(bundletest.Program(elf.EM_RISCV, elf.ET_EXEC, 1, "")), "machine 243 is not x86"},
		{"modules of another kernel", func(s *bundle.Spec) {
			s.Kernel.Image, s.Kernel.Modules = bundletest.Kernel(t, "6.12.2-test")
			s.Bootstrap = bundle.Bootstrap{Init: []byte("INIT")}
		}, `of kernel "6.12.2-test", the kernel vmlinuz is "6.12.1-test"`},
		{"no modules", func(s *bundle.Spec) {
			s.Kernel.Modules, s.Bootstrap = t.TempDir(), bundle.Bootstrap{Init: []byte("INIT")}
		}, "module folder"},

		{"two bootstraps", func(s *bundle.Spec) { s.Bootstrap.Ramdisk = file("070701") }, "given are 2 of init, records and ramdisk, allowed is one"},
		{"init and records", func(s *bundle.Spec) { s.Bootstrap.Init = []byte("INIT") }, "given are 2"},
		{"modules without a place", func(s *bundle.Spec) { s.Kernel.Modules = dir }, "the modules of the kernel have no place in it"},
		{"empty init", func(s *bundle.Spec) { s.Bootstrap = bundle.Bootstrap{Init: []byte{}} }, "no executable /init"},
		{"no records", func(s *bundle.Spec) { s.Bootstrap.Records = []cpio.Record{} }, "no executable /init"},
		{"init for another architecture", func(s *bundle.Spec) {
			s.Arch, s.Bootstrap = eif.AArch64, bundle.Bootstrap{}
			kernel(imageARM)(s)
		}, "nitrolab's init is for x86_64, the enclave is aarch64"},
		{"no init", func(s *bundle.Spec) { s.Bootstrap.Records = []cpio.Record{cpio.Directory("dev", 0o755)} }, "no executable /init"},
		{"init not executable", func(s *bundle.Spec) { s.Bootstrap.Records = []cpio.Record{cpio.StaticFile("init", "", 0o644)} }, "no executable /init"},
		{"init outside", func(s *bundle.Spec) {
			s.Bootstrap.Records = []cpio.Record{cpio.Symlink("init", "bin/init"), cpio.StaticFile("../init", "", 0o755)}
		}, `".."`},
		{"bootstrap is no ramdisk", func(s *bundle.Spec) { s.Bootstrap = bundle.Bootstrap{Ramdisk: file("hello")} }, "begins with 68 65 6c 6c 6f, which is no cpio archive"},
		{"bootstrap is empty", func(s *bundle.Spec) { s.Bootstrap = bundle.Bootstrap{Ramdisk: file("")} }, "no cpio archive"},

		{"no program", app(bundle.Binary{Path: filepath.Join(dir, "none")}), "no such file"},
		{"program is a directory", app(bundle.Binary{Path: dir}), "not a regular file"},
		{"program is a script", app(bundle.Binary{Path: write(t, dir, "script", "#!/bin/sh\n", 0o755)}), "not an ELF program"},
		{"dynamic program", app(bundle.Binary{Path: write(t, dir, "dynamic", dynamic, 0o755)}),
			"dynamically linked: it needs the interpreter /lib64/ld-linux-x86-64.so.2; link it statically"},
		{"program for aarch64", app(bundle.Binary{Path: write(t, dir, "arm", staticARM, 0o755)}),
			"built for EM_AARCH64 (ELFCLASS64), the enclave is x86_64"},
		{"object file", app(bundle.Binary{Path: write(t, dir, "object", bundletest.Program(elf.EM_X86_64, elf.ET_REL, 1, ""), 0o755)}), "of type ET_REL, not a program"},
		{"shared library", app(bundle.Binary{Path: write(t, dir, "library", bundletest.Program(elf.EM_X86_64, elf.ET_DYN, 0, ""), 0o755)}), "without an entry point"},
		{"cut program", app(bundle.Binary{Path: write(t, dir, "cut", static[:20], 0o755)}), "damaged ELF file"},

		{"newline in argument", app(bundle.Binary{Path: good, Args: []string{"a\nb"}}), `argument "a\nb" has a newline`},
		{"no variable", app(bundle.Binary{Path: good, Env: []string{"A"}}), `environment variable "A" is not NAME=value`},
		{"variable without a name", app(bundle.Binary{Path: good, Env: []string{"=x"}}), "is not NAME=value"},
		{"zero byte in variable", app(bundle.Binary{Path: good, Env: []string{"A=\x00"}}), "environment variable"},
		{"newline in variable", app(bundle.Binary{Path: good, Env: []string{"A=\n"}}), "environment variable"},
		{"no command", app(bundle.Directory{Path: root}), "no command given"},
		{"empty command", app(bundle.Directory{Path: root, Cmd: []string{""}}), "the command is empty"},
		{"no directory", app(bundle.Directory{Path: filepath.Join(dir, "none"), Cmd: []string{"x"}}), "no such file"},
		{"directory is a file", app(bundle.Directory{Path: good, Cmd: []string{"x"}}), "not a directory"},
		{"records without a command", app(bundle.Records{}), "no command given"},
		{"record below a file", app(bundle.Records{Files: []cpio.Record{cpio.StaticFile("a", static, 0o755), cpio.StaticFile("a/b", "", 0o644)}, Cmd: []string{"/a"}}), "a parent is not a directory"},
		{"record above the root", app(bundle.Records{Files: []cpio.Record{cpio.StaticFile("../cmd", "/evil", 0o644)}, Cmd: []string{"/a"}}), `name has a ".."`},
		{"record without its content", app(bundle.Records{Files: []cpio.Record{{Info: cpio.Info{Name: "a", Mode: cpio.S_IFREG, NLink: 2}}}, Cmd: []string{"/a"}}), "hard link without content"},
		{"records without the program", app(bundle.Records{Cmd: []string{"/a"}}), "no such file in the root filesystem"},
		{"no archive", app(bundle.Archive{Path: filepath.Join(dir, "none")}), "no such file"},
		{"archive is a program", app(bundle.Archive{Path: good}), "not a readable tar archive"},
		{"custom metadata", func(s *bundle.Spec) { s.CustomMetadata = json.RawMessage("[]") }, "custom metadata"},
		{"command line", func(s *bundle.Spec) { s.Cmdline = strings.Repeat("x", 3000) }, "command line has 3000 bytes"},
		{"limit", func(s *bundle.Spec) {
			s.App, s.Limits = bundle.Directory{Path: root, Cmd: []string{"tool"}}, rootfs.Limits{Entries: 2}
		}, "root filesystem is too large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := newSpec(t, dir, bundle.Binary{Path: good})
			tt.change(&spec)
			out := t.TempDir()
			spec.TempDir = out
			_, err := bundle.Build(context.Background(), filepath.Join(out, "app.eif"), spec)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if left, _ := os.ReadDir(out); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// elf32 is a kernel for 32 bits, uncompressed.
func elf32(t testing.TB) string {
	t.Helper()
	b := make([]byte, 64+32)
	copy(b, "\x7fELF\x01\x01\x01")
	b[18] = byte(elf.EM_386)
	b[28], b[42], b[44] = 64, 32, 1 // one program header, of nothing
	return string(b)
}

func TestCancelled(t *testing.T) {
	dir := t.TempDir()
	spec := newSpec(t, dir, bundle.Binary{Path: write(t, dir, "server", static, 0o755)})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := bundle.Build(ctx, filepath.Join(dir, "app.eif"), spec); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestELFKernelWarns(t *testing.T) {
	dir := t.TempDir()
	spec := newSpec(t, dir, bundle.Binary{Path: write(t, dir, "server", static, 0o755)})
	spec.Kernel.Image = write(t, dir, "vmlinux", string(kernelimagetest.Kernel{}.ELF(t)), 0o644)
	r, im := build(t, spec)
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "not on the Nitro hypervisor") {
		t.Errorf("warnings %q", r.Warnings)
	}
	if meta, err := im.Metadata(); err != nil || meta.Build.KernelVersion != "Unknown" {
		t.Errorf("%+v, %v", meta, err)
	}
}

// A kernel that only it can unpack itself boots all the same.
func TestOpaqueKernel(t *testing.T) {
	dir := t.TempDir()
	spec := newSpec(t, dir, bundle.Binary{Path: write(t, dir, "server", static, 0o755)})
	b := kernelimagetest.BzImage(bundletest.Release, []byte("\x89LZO\x00\r\n\x1a\n and so on, and on"))
	b[0x211], b[0x236] = 1, 1
	spec.Kernel.Image = write(t, dir, "lzo", string(b), 0o644)
	if _, im := build(t, spec); im.Kernel().Size() != int64(len(b)) {
		t.Error("another kernel is in the image")
	}
}

func TestAArch64(t *testing.T) {
	dir := t.TempDir()
	spec := newSpec(t, dir, bundle.Binary{Path: write(t, dir, "server", staticARM, 0o755)})
	spec.Arch = eif.AArch64
	spec.Kernel.Image = write(t, dir, "Image", imageARM, 0o644)
	if _, im := build(t, spec); im.Arch() != eif.AArch64 {
		t.Error("architecture is not in the flags")
	}
}
