package kernelimage

import (
	"bytes"
	"errors"
	"io"
)

// Info is what an image tells of its kernel.
type Info struct {
	Format      Format
	Compression Compression // of a bzImage's payload
	Version     string      // release as uname -r gives it, empty if not found
	Size        int64       // bytes of the uncompressed kernel

	// PVH says that the uncompressed kernel has the entry point that QEMU needs
	// to start it without the bzImage's own unpacking.
	PVH bool

	// Config is the kernel's configuration where it is embedded
	// (CONFIG_IKCONFIG), else nil.
	Config Config

	// VirtioMMIO is how the built-in virtio-mmio driver finds its devices.
	VirtioMMIO VirtioMMIO

	// MPTable says that the kernel reads the Intel MP table
	// (CONFIG_X86_MPPARSE). Without it, and without ACPI, it runs on one CPU.
	MPTable bool
}

// VirtioMMIO is what is built into a kernel of drivers/virtio/virtio_mmio.c.
// All false means that the driver is a module or absent.
type VirtioMMIO struct {
	BuiltIn bool // CONFIG_VIRTIO_MMIO=y
	Cmdline bool // CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES: takes virtio_mmio.device=
	ACPI    bool // matches the ACPI id LNRO0005
}

// A Discovery is a way to announce virtio-mmio devices to a kernel.
type Discovery string

// The two ways that QEMU's microvm has.
const (
	// ByCmdline is virtio_mmio.device= on the command line, QEMU's acpi=off.
	ByCmdline Discovery = "command line"
	// ByACPI is the DSDT, QEMU's acpi=on.
	ByACPI Discovery = "ACPI"
)

// Discovery gives the way to announce virtio-mmio devices to this kernel: the
// command line if it takes them there, as real Nitro hosts do, else ACPI.
//
// How sure this is: "command line" is certain for a kernel whose driver is
// built in, since the two strings looked for are in no other source file. For a
// kernel with the driver as a module the image cannot tell, except by an embedded
// configuration; ACPI is then the answer, and right for every distribution kernel
// known (Debian has the driver as a module and the command-line part off).
func (i Info) Discovery() Discovery {
	if i.VirtioMMIO.Cmdline || i.Config.Value("VIRTIO_MMIO_CMDLINE_DEVICES") == "y" {
		return ByCmdline
	}
	return ByACPI
}

// The traces that a built-in driver leaves in the uncompressed kernel, all
// strings with their terminating zero.
var (
	// The match table of virtio_mmio.c for device trees, compiled in on x86 too.
	traceBuiltIn = []byte("virtio,mmio\x00")
	// The match table for ACPI.
	traceACPI = []byte("LNRO0005\x00")
	// Under CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES only, since Linux 3.5: the name of
	// the parent device, and the parameter of device_param_cb(device, ...), which
	// has the module's name in front only when built in (MODULE_PARAM_PREFIX).
	traceCmdlineParent = []byte("virtio-mmio-cmdline\x00")
	traceCmdlineParam  = []byte("virtio_mmio.device\x00")
	// The message of arch/x86/kernel/mpparse.c.
	traceMPTable = []byte("MPTABLE: ")
)

// Probe tells what the kernel image r is: bzImage, x86 ELF or arm64 Image.
//
// A bzImage compressed with LZO gives [ErrCompression] beside what its header
// says. Other errors are [ErrFormat], [ErrTooBig] and those of r.
func Probe(r io.ReaderAt) (Info, error) {
	img, err := load(r)
	info := Info{Format: img.format, Compression: img.compression, Version: img.release}
	if err != nil {
		if errors.Is(err, ErrCompression) {
			return info, err
		}
		return Info{}, err
	}
	if info.Format != ARM64 {
		notes, err := checkELF(img.kernel)
		if err != nil {
			return Info{}, err
		}
		info.PVH = hasPVH(notes)
	}
	k := img.kernel
	info.Size = int64(len(k))
	if info.Version == "" {
		info.Version = bannerRelease(k)
	}
	info.Config = embeddedConfig(k)
	info.VirtioMMIO = VirtioMMIO{
		BuiltIn: bytes.Contains(k, traceBuiltIn),
		Cmdline: bytes.Contains(k, traceCmdlineParent) && bytes.Contains(k, traceCmdlineParam),
		ACPI:    bytes.Contains(k, traceACPI),
	}
	info.MPTable = bytes.Contains(k, traceMPTable)
	return info, nil
}

// bannerRelease finds the release in linux_banner, "Linux version 6.12.117 (...".
// The words occur in format strings too, so the one followed by a digit counts.
func bannerRelease(k []byte) string {
	banner := []byte("Linux version ")
	for {
		_, after, ok := bytes.Cut(k, banner)
		if !ok {
			return ""
		}
		if r := releaseWord(after[:min(len(after), maxVersionLen)]); r != "" {
			return r
		}
		k = after
	}
}
