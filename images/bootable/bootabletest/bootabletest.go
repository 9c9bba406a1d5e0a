// Package bootabletest makes the inputs of an enclave image for tests: a kernel
// and modules that have everything but code.
package bootabletest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nitrolab/nitrolab/images/kmod/kmodtest"
	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
)

// Release is the release of the kernel.
const Release = "6.12.1-test"

// Kernel makes a bzImage of [Release] and the folder of the modules an enclave
// needs, which say that they are of moduleRelease.
func Kernel(t testing.TB, moduleRelease string) (image, modules string) {
	t.Helper()
	dir := t.TempDir()
	image, modules = filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "modules")
	if err := os.Mkdir(modules, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(path string, content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	elf := kernelimagetest.Kernel{}.ELF(t)
	write(image, kernelimagetest.BzImage(Release, kernelimagetest.Payload(t, "gzip", elf)))
	for name, depends := range map[string]string{
		"virtio_mmio": "", "nsm": "", "vsock": "", "vmw_vsock_virtio_transport": "vsock",
	} {
		m := kmodtest.Module("name="+name, "depends="+depends, "vermagic="+moduleRelease+" SMP")
		write(filepath.Join(modules, name+".ko"), m)
	}
	return image, modules
}
