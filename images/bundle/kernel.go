package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/kmod"
	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage"
)

// Cmdline is the kernel command line of images. It is that of nitro-cli with
// these differences:
//
//   - no "nomodules", because distribution kernels have virtio-mmio, vsock and
//     the NSM driver as modules, and no "pci=off", which such kernels do not need
//     on a machine without PCI;
//   - panic=-1 resets at once instead of after 30 s: the end of an enclave that
//     panicked is seen when it happens;
//   - cryptomgr.notests skips self-tests of the kernel's cryptography: 0.4 s
//     of 3.1 s to init under TCG, medians of 8 boots of Debian's 6.12.117.
//     "quiet", "loglevel=4", "lsm=", "mitigations=off", "audit=0" and
//     "nowatchdog" saved nothing that could be told from noise.
const Cmdline = "reboot=k panic=-1 console=ttyS0 i8042.noaux i8042.nomux i8042.nopnp i8042.dumbkbd random.trust_cpu=on cryptomgr.notests"

// Modules are the kernel modules an enclave needs, with the modules these depend
// on, where they are not built in.
func Modules() []string {
	return []string{"virtio_mmio", "nsm", "vmw_vsock_virtio_transport"}
}

// A Kernel is what an image boots.
type Kernel struct {
	// Image is the file of a bzImage (x86_64) or an uncompressed Image
	// (aarch64). An ELF kernel is taken with a warning, see [Result.Warnings].
	Image string
	// Modules is the folder lib/modules/<release>, of the same kernel; "" for one
	// with all of [Modules] built in, and for a bootstrap that is given whole.
	Modules string
}

// kernel opens the kernel, checks that it is one for the architecture, and tells
// its release, "" if that is not known.
func (b *builder) kernel(ctx context.Context) (r *io.SectionReader, release string, err error) {
	name := b.spec.Kernel.Image
	if r, err = b.open(name); err != nil {
		return nil, "", fmt.Errorf("bundle: kernel: %w", err)
	}
	info, err := probeKernel(withContext(ctx, r))
	if err != nil {
		return nil, "", fmt.Errorf("bundle: kernel %s: %w", name, err)
	}
	arch := eif.X86_64
	if info.Format == kernelimage.ARM64 {
		arch = eif.AArch64
	}
	if arch != b.spec.Arch {
		return nil, "", fmt.Errorf("bundle: kernel %s is for %v, wanted is %v", name, arch, b.spec.Arch)
	}
	if info.Format == kernelimage.ELF {
		b.warn("the kernel is an ELF file, which boots here but not on the Nitro hypervisor: that wants a bzImage (x86_64) or an Image (aarch64)")
	}
	return r, info.Version, nil
}

// probeKernel is [kernelimage.Probe] for kernels that can run an enclave. One
// whose payload only it can unpack itself is fine.
func probeKernel(r *io.SectionReader) (kernelimage.Info, error) {
	info, err := kernelimage.Probe(r)
	if err != nil && !errors.Is(err, kernelimage.ErrCompression) {
		return info, err
	}
	// Linux Documentation/arch/x86/boot.rst: loadflags LOADED_HIGH, xloadflags
	// XLF_KERNEL_64. System V ABI: EI_CLASS is ELFCLASS64.
	const loadFlags, loadedHigh, xloadFlags, kernel64, elfClass, class64 = 0x211, 1 << 0, 0x236, 1 << 0, 4, 2
	head := make([]byte, xloadFlags+1)
	if n, err := r.ReadAt(head, 0); n < len(head) && info.Format == kernelimage.BzImage {
		return info, err
	}
	switch {
	case info.Format == kernelimage.BzImage && head[loadFlags]&loadedHigh == 0:
		return info, errors.New("a zImage, allowed is a bzImage")
	case info.Format == kernelimage.BzImage && head[xloadFlags]&kernel64 == 0,
		info.Format == kernelimage.ELF && head[elfClass] != class64:
		return info, errors.New("a kernel for 32 bits, allowed is one for 64")
	}
	return info, nil
}

// modules are those that an enclave needs, in the order in which they are loaded.
// Modules of another release than the kernel's would not load.
func (k Kernel) modules(release string) ([]kmod.Module, error) {
	if k.Modules == "" {
		return nil, nil
	}
	modules, err := kmod.Resolve(k.Modules, Modules()...)
	if err != nil {
		return nil, fmt.Errorf("bundle: kernel modules: %w", err)
	}
	for _, m := range modules {
		if m.Release != release {
			return nil, fmt.Errorf("bundle: module %s is of kernel %q, the kernel %s is %q", m.Name, m.Release, filepath.Base(k.Image), release)
		}
	}
	return modules, nil
}
