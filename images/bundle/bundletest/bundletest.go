// Package bundletest makes the inputs of an enclave image for tests: a kernel
// and modules that have everything but code, and programs that are only a head.
package bundletest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/nitrolab/nitrolab/images/kmod/kmodtest"
	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
)

// Release is the release of the kernel.
const Release = "6.12.1-test"

// BzImage makes a bzImage of [Release], of which its header says that it is for
// 64 bits.
func BzImage(t testing.TB) []byte {
	t.Helper()
	b := kernelimagetest.BzImage(Release, kernelimagetest.Payload(t, "gzip", kernelimagetest.Kernel{}.ELF(t)))
	b[0x211], b[0x236] = 1, 1 // LOADED_HIGH, XLF_KERNEL_64
	return b
}

// Kernel makes the file of a [BzImage] and the folder of the modules an enclave
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
	write(image, BzImage(t))
	for name, depends := range map[string]string{
		"virtio_mmio": "", "nsm": "", "vsock": "", "vmw_vsock_virtio_transport": "vsock",
	} {
		m := kmodtest.Module("name="+name, "depends="+depends, "vermagic="+moduleRelease+" SMP")
		write(filepath.Join(modules, name+".ko"), m)
	}
	return image, modules
}

// Program makes the head of a 64-bit little-endian ELF file, which is all of a
// program that a check can see. Without an interpreter it is a static one.
func Program(machine elf.Machine, typ elf.Type, entry uint64, interpreter string) string {
	const headers = 64 + 56
	h := elf.Header64{
		Type: uint16(typ), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Entry: entry, Phoff: 64, Ehsize: 64, Phentsize: 56, Shentsize: 64,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	h.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	h.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	var b bytes.Buffer
	if interpreter == "" {
		binary.Write(&b, binary.LittleEndian, h)
		return b.String()
	}
	h.Phnum = 1
	n := uint64(len(interpreter) + 1)
	binary.Write(&b, binary.LittleEndian, h)
	binary.Write(&b, binary.LittleEndian, elf.Prog64{
		Type: uint32(elf.PT_INTERP), Flags: uint32(elf.PF_R), Off: headers, Filesz: n, Memsz: n, Align: 1,
	})
	b.WriteString(interpreter + "\x00")
	return b.String()
}

// Static is a static program for x86_64.
func Static() string { return Program(elf.EM_X86_64, elf.ET_EXEC, 0x400000, "") }
