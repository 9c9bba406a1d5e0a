package instance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/images/initramfs/initramfstest"
	"github.com/nitrolab/nitrolab/images/kmod"
	"github.com/nitrolab/nitrolab/images/kmod/kmodtest"
)

const release = "6.12.117-test"

func write(t testing.TB, path string, content []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func module(rel, depends string) []byte {
	return kmodtest.Module("depends="+depends, "vermagic="+rel+" SMP mod_unload ")
}

// newSpec is a Spec whose kernel has virtio_pci built in, as Debian's, and lacks
// one of the optional drivers.
func newSpec(t testing.TB) Spec {
	dir := t.TempDir()
	mods := filepath.Join(dir, "modules")
	write(t, filepath.Join(mods, "modules.builtin"), []byte("kernel/virtio_pci.ko\nkernel/virtio_console.ko\nkernel/nvme.ko\n"))
	for name, depends := range map[string]string{
		"vsock": "", "vmw_vsock_virtio_transport": "vsock", "nitro_enclaves": "",
		"virtio-rng": "", "vfio": "", "vfio-pci": "vfio", "vfio_iommu_type1": "vfio", "virtio_net": "",
	} {
		write(t, filepath.Join(mods, "kernel", name+".ko"), module(release, depends))
	}
	return Spec{
		Kernel:   Kernel{Image: write(t, filepath.Join(dir, "vmlinuz"), []byte("kernel")), Modules: mods, Release: release},
		Busybox:  write(t, filepath.Join(dir, "busybox"), []byte("busybox")),
		CacheDir: filepath.Join(dir, "cache"),
	}
}

// fakePrograms are programs that hold their own name.
func fakePrograms(_ context.Context, names ...string) (map[string][]byte, error) {
	programs := map[string][]byte{}
	for _, name := range names {
		programs[name] = []byte("program " + name)
	}
	return programs, nil
}

func build(t testing.TB, spec Spec) (*Image, error) {
	b := builder{spec: spec, programs: fakePrograms}
	return b.build(t.Context())
}

func mustBuild(t testing.TB, spec Spec) *Image {
	t.Helper()
	im, err := build(t, spec)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// read returns the entries of an image by name.
func read(t testing.TB, im *Image) map[string]initramfstest.Entry {
	t.Helper()
	f, err := os.Open(im.Initramfs)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	entries := map[string]initramfstest.Entry{}
	for _, e := range initramfstest.Read(t, f) {
		entries[e.Name] = e
		if e.UID != 0 || e.GID != 0 {
			t.Errorf("%s belongs to %d:%d", e.Name, e.UID, e.GID)
		}
	}
	return entries
}

func TestContent(t *testing.T) {
	spec := newSpec(t)
	im := mustBuild(t, spec)
	entries := read(t, im)
	want := map[string]string{ // mode and content
		"init":                             "100755 program instance",
		"usr/bin/busybox":                  "100755 busybox",
		"usr/bin/nsm":                      "100755 program nsm",
		"usr/bin/vsock":                    "100755 program vsock",
		"usr/bin/nitro-cli":                "100755 program nitro-cli",
		"usr/bin/nitro-enclaves-allocator": "100755 program nitro-enclaves-allocator",
		"usr/bin/vsock-proxy":              "100755 program vsock-proxy",
		"bin":                              "120777 usr/bin",
		"sbin":                             "120777 usr/sbin",
		"lib":                              "120777 usr/lib",
		"dev/console":                      "20600 ",
		"root":                             "40700 ",
		"tmp":                              "41777 ",
		"run":                              "40755 ",
		"etc/mtab":                         "120777 /proc/self/mounts",
		"etc/resolv.conf":                  "100644 nameserver 169.254.169.253\n",
		"etc/ssl/certs":                    "40755 ",
		"etc/ssl/cert.pem":                 "120777 /etc/ssl/certs/ca-certificates.crt",
		"etc/pki/tls/cert.pem":             "120777 /etc/ssl/certs/ca-certificates.crt",
		"etc/pki/tls/certs/ca-bundle.crt":  "120777 /etc/ssl/certs/ca-certificates.crt",
		"etc/hostname":                     "100644 localhost\n",
		"modules/00-vsock.ko":              "120777 /usr/lib/modules/" + release + "/vsock.ko",
		"modules/02-nitro_enclaves.ko":     "120777 /usr/lib/modules/" + release + "/nitro_enclaves.ko",
		"usr/lib/modules/" + release + "/vsock.ko": "100644 " + string(module(release, "")),
		"usr/lib/modules/" + release + "/modules.dep": "100644 vsock.ko:\nvmw_vsock_virtio_transport.ko: vsock.ko\nnitro_enclaves.ko:\nvirtio_rng.ko:\n" +
			"vfio.ko:\nvfio_iommu_type1.ko: vfio.ko\nvfio_pci.ko: vfio.ko\nvirtio_net.ko:\n",
	}
	got := map[string]string{}
	for name := range want {
		if e, ok := entries[name]; ok {
			got[name] = fmt.Sprintf("%o %s", e.Mode, e.Content)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if e := entries["dev/console"]; e.Major != 5 || e.Minor != 1 {
		t.Errorf("dev/console is %d:%d", e.Major, e.Minor)
	}
	for _, name := range []string{"etc/passwd", "etc/group", "etc/os-release", "etc/profile", "etc/hosts",
		"etc/nitro_enclaves/allocator.yaml", "etc/nitro_enclaves/vsock-proxy.yaml", "usr/share/nitro_enclaves/examples", "var/log/nitro_enclaves"} {
		if _, ok := entries[name]; !ok {
			t.Errorf("no %s", name)
		}
	}
	modules := []string{"vsock", "vmw_vsock_virtio_transport", "nitro_enclaves", "virtio_rng", "vfio", "vfio_iommu_type1", "vfio_pci", "virtio_net"}
	if diff := cmp.Diff(modules, im.Modules); diff != "" {
		t.Errorf("modules (-want +got):\n%s", diff)
	}
	content, err := os.ReadFile(im.Initramfs)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	if im.SHA256 != hex.EncodeToString(sum[:]) || im.Size != int64(len(content)) || im.Kernel != spec.Kernel.Image || im.KernelArgs != KernelArgs {
		t.Errorf("image %+v", im)
	}
}

// Nothing below a link of the skeleton: the kernel would unpack it elsewhere, or
// not at all.
func TestNothingBelowLinks(t *testing.T) {
	spec := newSpec(t)
	spec.Files = map[string]File{"/lib/firmware/x": {Data: []byte("y"), Mode: 0o644}, "sbin/tool": {Data: []byte("z"), Mode: 0o755}}
	entries := read(t, mustBuild(t, spec))
	for name := range entries {
		for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
			if entries[dir].Mode&0o170000 != 0o040000 {
				t.Errorf("%s is below %s, which has mode %o", name, dir, entries[dir].Mode)
			}
		}
	}
	if entries["usr/lib/firmware/x"].Content != "y" || entries["usr/sbin/tool"].Content != "z" {
		t.Error("files below the links are missing")
	}
}

func TestOwnFiles(t *testing.T) {
	spec := newSpec(t)
	source := write(t, filepath.Join(t.TempDir(), "hello.eif"), []byte("an image"))
	spec.Files = map[string]File{
		"usr/share/nitro_enclaves/examples/hello.eif": {Path: source, Mode: 0o640},
		"/etc/hostname":     {Data: []byte("other\n"), Mode: 0o600},
		"opt/empty":         {Mode: 0o644},
		"opt/tool":          {Data: []byte("t"), Mode: 0o755 | fs.ModeSetuid},
		"opt/link":          {Link: "tool"},
		"opt/new/folder":    {Mode: 0o700 | fs.ModeDir},
		"root":              {Mode: 0o777 | fs.ModeDir},
		"usr/bin/nitro-cli": {Data: []byte("AWS's own"), Mode: 0o755},
	}
	entries := read(t, mustBuild(t, spec))
	want := map[string]string{
		"usr/share/nitro_enclaves/examples/hello.eif": "100640 an image",
		"etc/hostname":      "100600 other\n",
		"opt/empty":         "100644 ",
		"opt/tool":          "104755 t",
		"opt/link":          "120777 tool",
		"opt/new/folder":    "40700 ",
		"root":              "40700 ", // a folder of the image keeps its mode
		"usr/bin/nitro-cli": "100755 AWS's own",
	}
	got := map[string]string{}
	for name := range want {
		got[name] = fmt.Sprintf("%o %s", entries[name].Mode, entries[name].Content)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// Equal inputs give equal bytes, also from other folders and in another order;
// any other file gives others.
func TestDeterminism(t *testing.T) {
	first := mustBuild(t, newSpec(t))
	for range 3 {
		if again := mustBuild(t, newSpec(t)); again.SHA256 != first.SHA256 {
			t.Fatalf("%s, then %s", first.SHA256, again.SHA256)
		}
	}
	changes := map[string]func(*Spec){
		"busybox": func(s *Spec) { write(t, s.Busybox, []byte("other")) },
		"module": func(s *Spec) {
			write(t, filepath.Join(s.Kernel.Modules, "kernel/nitro_enclaves.ko"), kmodtest.Module("depends=", "vermagic="+release+" ", "version=2"))
		},
		"file": func(s *Spec) { s.Files = map[string]File{"opt/x": {}} },
		"mode": func(s *Spec) { s.Files = map[string]File{"etc/hostname": {Data: []byte("localhost\n"), Mode: 0o600}} },
	}
	for name, change := range changes {
		spec := newSpec(t)
		change(&spec)
		if other := mustBuild(t, spec); other.SHA256 == first.SHA256 {
			t.Errorf("%s: same bytes", name)
		}
	}
	// The kernel is not in the archive.
	spec := newSpec(t)
	write(t, spec.Kernel.Image, []byte("another kernel"))
	if other := mustBuild(t, spec); other.SHA256 != first.SHA256 {
		t.Error("the kernel is part of the archive")
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Spec)
		text   string
	}{
		{"no cache", func(s *Spec) { s.CacheDir = "" }, "instance image: no folder for the cache given"},
		{"no kernel", func(s *Spec) { s.Kernel.Image += "x" }, "instance image: kernel: stat"},
		{"kernel is a folder", func(s *Spec) { s.Kernel.Image = s.Kernel.Modules }, "is not a regular file"},
		{"no busybox", func(s *Spec) { s.Busybox = "" }, "instance image: busybox: open"},
		{"no modules folder", func(s *Spec) { s.Kernel.Modules += "x" }, "instance image: kernel modules: open module folder"},
		{"other kernel", func(s *Spec) { s.Kernel.Release = "6.1" }, `module vsock is of kernel "6.12.117-test", the kernel is "6.1"`},
		{"mixed kernels", func(s *Spec) {
			s.Kernel.Release = ""
			write(t, filepath.Join(s.Kernel.Modules, "kernel/vfio.ko"), module("6.1", ""))
		}, `module vfio is of kernel "6.1", the kernel is "6.12.117-test"`},
		{"release that is no name", func(s *Spec) {
			s.Kernel.Release = ""
			for _, m := range []string{"vsock", "vmw_vsock_virtio_transport", "nitro_enclaves"} {
				write(t, filepath.Join(s.Kernel.Modules, "kernel", m+".ko"), module("../../etc", ""))
			}
		}, `is of kernel "../../etc"`},
		{"data and path", func(s *Spec) { s.Files = map[string]File{"x": {Data: []byte{1}, Path: "/dev/null"}} }, "more than one of"},
		{"folder with data", func(s *Spec) { s.Files = map[string]File{"x": {Data: []byte{1}, Mode: fs.ModeDir}} }, "more than one of"},
		{"device", func(s *Spec) { s.Files = map[string]File{"x": {Mode: fs.ModeDevice}} }, "neither a file nor a folder"},
		{"no source", func(s *Spec) { s.Files = map[string]File{"x": {Path: "/no/such"}} }, `file "x": open /no/such`},
		{"source is a device", func(s *Spec) { s.Files = map[string]File{"x": {Path: "/dev/null"}} }, "/dev/null is not a regular file"},
		{"root", func(s *Spec) { s.Files = map[string]File{"/": {}} }, "it is the root"},
		{"twice", func(s *Spec) { s.Files = map[string]File{"/bin/x": {}, "usr/bin/x": {}} }, "named twice"},
		{"dot dot", func(s *Spec) { s.Files = map[string]File{"etc/../x": {}} }, `name has a ".."`},
		{"file for a folder", func(s *Spec) { s.Files = map[string]File{"usr/bin": {}} }, "the image has a folder there, or the other way round"},
		{"file for a parent", func(s *Spec) { s.Files = map[string]File{"etc/nitro_enclaves": {}} }, "is no directory"},
		{"file for a link's folder", func(s *Spec) { s.Files = map[string]File{"bin": {Mode: fs.ModeDir | 0o755}} }, "the image has a folder there, or the other way round"},
		{"below a file", func(s *Spec) { s.Files = map[string]File{"init/x": {}} }, "is no directory"},
		{"data for the source of a link", func(s *Spec) { s.Files = map[string]File{"x": {Link: "a", Data: []byte{1}}} }, "more than one of"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := newSpec(t)
			tt.change(&spec)
			_, err := build(t, spec)
			if err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v, want %q", err, tt.text)
			}
			if entries, err := os.ReadDir(spec.CacheDir); err == nil && len(entries) > 0 {
				t.Errorf("cache has %v", entries)
			}
		})
	}
}

func TestRequiredModules(t *testing.T) {
	for _, name := range []string{"nitro_enclaves", "vmw_vsock_virtio_transport", "vsock"} {
		spec := newSpec(t)
		if err := os.Remove(filepath.Join(spec.Kernel.Modules, "kernel", name+".ko")); err != nil {
			t.Fatal(err)
		}
		_, err := build(t, spec)
		var missing *kmod.NotFoundError
		if !errors.As(err, &missing) || missing.Name != name {
			t.Errorf("without %s: %v", name, err)
		}
	}
	// What an optional one needs makes it missing.
	spec := newSpec(t)
	if err := os.Remove(filepath.Join(spec.Kernel.Modules, "kernel/vfio.ko")); err != nil {
		t.Fatal(err)
	}
	im := mustBuild(t, spec)
	if slices.Contains(im.Modules, "vfio_pci") || !slices.Contains(im.Modules, "virtio_net") {
		t.Errorf("without vfio: %q", im.Modules)
	}
	// A broken one is not a missing one.
	write(t, filepath.Join(spec.Kernel.Modules, "kernel/virtio_net.ko"), []byte("no module"))
	if _, err := build(t, spec); err == nil {
		t.Error("a broken optional module was left out without a word")
	}
	spec.Kernel.Modules = ""
	if im := mustBuild(t, spec); len(im.Modules) != 0 {
		t.Errorf("modules %q", im.Modules)
	}
}

func TestNoPrograms(t *testing.T) {
	b := builder{spec: newSpec(t), programs: func(context.Context, ...string) (map[string][]byte, error) { return nil, errors.New("none") }}
	if _, err := b.build(t.Context()); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("error %v", err)
	}
}
