package toolchain

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nitrolab/nitrolab/images/toolchain/debian/debiantest"
	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
)

// Programs of the test's archive. The loader is run as the real one is, and the
// emulator answers as the real one does, if its library is as it should be.
const (
	fakeLoader = `#!/bin/sh
[ "$1 $2" = "--inhibit-cache --library-path" ] || exit 126
LIBS=$3; export LIBS
shift 3
exec /bin/sh "$@"
`
	fakeEmulator = `#!/bin/sh
[ "$(cat "$LIBS/libfake.so.1" 2>/dev/null)" = "library" ] || { echo "libfake.so.1: cannot open" >&2; exit 127; }
case "$*" in
*--version) echo "QEMU emulator version VERSION (Test 1:VERSION+ds-1)" ;;
*"-device help") for d in DEVICES; do echo "name \"$d\", bus virtio-bus"; done ;;
esac
`
)

const fakeRelease = "6.12.1+test-cloud-amd64"

// emulatorScript gives a program that says that it is QEMU of a version with
// devices.
func emulatorScript(version, devices string) string {
	return replaceAll(fakeEmulator, "VERSION", version, "DEVICES", devices)
}

var allDevices = "virtio-blk-device " + strings.Join(Devices, " ")

// qemuDebs are the packages of an emulator of a version.
func qemuDebs(version string) []debiantest.Deb {
	return []debiantest.Deb{
		{Name: qemuPackage, Version: "1:" + version + "+ds-1", Depends: "libfake1", Files: map[string]debiantest.File{
			debianQEMUBin: {Content: emulatorScript(version, allDevices), Mode: 0o755},
			"usr/lib/" + debianTriplet + "/qemu/m.so": {Content: "module"},
			"usr/share/qemu/bios.bin":                 {Content: "firmware"},
			"usr/share/doc/qemu/README":               {Content: "not kept"},
			"usr/bin/qemu-system-i386":                {Content: "not kept", Mode: 0o755},
		}},
		{Name: "libfake1", Version: "1.0-1", Depends: "libc6", Files: map[string]debiantest.File{
			"usr/lib/" + debianTriplet + "/libfake.so.1": {Content: "library\n"},
			"usr/lib/" + debianTriplet + "/libfake.so":   {Link: "libfake.so.1"},
		}},
		{Name: "libc6", Version: "2.41-1", Files: map[string]debiantest.File{
			"usr/lib64/" + debianLoader: {Content: fakeLoader, Mode: 0o755},
		}},
	}
}

// kernelDebs are the packages of a kernel.
func kernelDebs(t testing.TB, release string) []debiantest.Deb {
	image := kernelimagetest.BzImage(release, kernelimagetest.Payload(t, "zstd",
		kernelimagetest.Kernel{Release: release, PVH: true, Pad: 4096}.ELF(t)))
	return []debiantest.Deb{
		{Name: kernelPackage, Version: release, Depends: "linux-image-" + release + " (= " + release + ")"},
		{Name: "linux-image-" + release, Version: release, Depends: "kmod, linux-base (>= 4.3~)", Files: map[string]debiantest.File{
			"boot/vmlinuz-" + release:                                  {Content: string(image)},
			"boot/config-" + release:                                   {Content: "CONFIG_VIRTIO_MMIO=m\nCONFIG_PVH=y\n"},
			"boot/System.map-" + release:                               {Content: "not kept"},
			"usr/lib/modules/" + release + "/kernel/virtio_mmio.ko.xz": {Content: "module"},
			"usr/lib/modules/" + release + "/modules.builtin":          {Content: ""},
			"usr/lib/modules/" + release + "/build":                    {Link: "/usr/src/linux"},
		}},
	}
}

var busyboxDeb = debiantest.Deb{Name: busyboxPackage, Version: "1:1.37.0-1", Files: map[string]debiantest.File{
	"usr/bin/busybox": {Content: "\x7fELF static", Mode: 0o755},
}}

// testSuites stand in for the table.
var testSuites = []suiteChoice{
	{"base", "base-backports", "for tests"},
	{"next", "", "for tests"},
}

// newRepo makes an archive that looks like Debian's.
func newRepo(t testing.TB) *debiantest.Repo {
	r := debiantest.New(t)
	r.Set(t, "base", baseDebs(t)...)
	r.Set(t, "base-backports", qemuDebs("11.1.3")[0])
	return r
}

func baseDebs(t testing.TB) []debiantest.Deb {
	debs := append(qemuDebs("10.0.1"), kernelDebs(t, fakeRelease)...)
	return append(debs, busyboxDeb)
}

// testOptions gives options for a fresh cache that uses r, on a machine whose own
// QEMU has too little.
func testOptions(t testing.TB, r *debiantest.Repo) Options {
	t.Helper()
	bin := t.TempDir()
	writeTestFile(t, filepath.Join(bin, "qemu-system-x86_64"),
		"#!/bin/sh\nLIBS="+bin+"\n"+emulatorScript("7.2.0", "virtio-blk-device"), 0o755)
	writeTestFile(t, filepath.Join(bin, "libfake.so.1"), "library\n", 0o644)
	if tt, ok := t.(*testing.T); ok {
		for _, env := range []string{EnvQEMU, EnvKernel, EnvKernelModules, EnvBusybox, EnvCache, EnvMirror, EnvKeyring} {
			tt.Setenv(env, "")
		}
		tt.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
	return Options{
		CacheDir: filepath.Join(t.TempDir(), "cache dir"),
		Mirror:   r.URL, Keyring: r.Keyring, suites: testSuites,
	}
}

func writeTestFile(t testing.TB, name, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// A listener is a Progress that remembers.
type listener struct {
	mu     sync.Mutex
	notes  []string
	stages []string
	onNote func(string)
}

func (l *listener) Note(text string) {
	l.mu.Lock()
	l.notes = append(l.notes, text)
	f := l.onNote
	l.mu.Unlock()
	if f != nil {
		f(text)
	}
}

func (l *listener) Stage(name string, _ int64, _ Unit) Stage {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stages = append(l.stages, name)
	return silent{}
}

// take gives what was heard and forgets it.
func (l *listener) take() (notes, stages []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	notes, stages = l.notes, l.stages
	l.notes, l.stages = nil, nil
	return notes, stages
}
