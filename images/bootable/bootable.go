// Package bootable puts an enclave image together from a kernel with its
// modules, nitrolab's init, and an application: what Docker and linuxkit do for
// nitro-cli, without either.
package bootable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/guestprog"
	"github.com/nitrolab/nitrolab/images/initramfs"
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
	Image   string // path of a bzImage
	Modules string // folder lib/modules/<release>; "" for a kernel with all built in
}

// An Image is a finished image that has not been written. It holds the kernel's
// file open until Close.
type Image struct {
	// Spec may be changed before it is built, for example to add a signer.
	Spec eif.Spec

	kernel *os.File
}

// New lays out the image of an application that nitrolab's init starts.
// Everything is checked here; what [eif.Build] reads later are files. Equal
// inputs give equal measurements on any machine.
func New(ctx context.Context, k Kernel, app initramfs.Application, name string) (*Image, error) {
	programs, err := guestprog.Get(ctx, guestprog.Init)
	if err != nil {
		return nil, fmt.Errorf("build image %s: %w", name, err)
	}
	return NewWithInit(k, programs[guestprog.Init], app, name)
}

// NewWithInit is New with another program as PID 1, which finds the same two
// ramdisks.
func NewWithInit(k Kernel, init []byte, app initramfs.Application, name string) (*Image, error) {
	im := &Image{}
	if err := im.assemble(k, init, app, name); err != nil {
		return nil, errors.Join(fmt.Errorf("build image %s: %w", name, err), im.Close())
	}
	return im, nil
}

func (im *Image) assemble(k Kernel, init []byte, app initramfs.Application, name string) error {
	kernel, release, err := im.openKernel(k.Image)
	if err != nil {
		return err
	}
	var modules []kmod.Module
	if k.Modules != "" {
		if modules, err = kmod.Resolve(k.Modules, Modules()...); err != nil {
			return err
		}
	}
	for _, m := range modules {
		if m.Release != release {
			return fmt.Errorf("module %s is of kernel %q, the kernel %s is %q", m.Name, m.Release, filepath.Base(k.Image), release)
		}
	}
	files, err := app.Files()
	if err != nil {
		return err
	}
	im.Spec = eif.Spec{
		Arch:    eif.X86_64,
		Kernel:  kernel,
		Cmdline: Cmdline,
		Metadata: eif.Metadata{
			ImageName:    name,
			ImageVersion: "1.0",
			Build:        &eif.BuildMetadata{BuildTime: eif.FormatBuildTime(time.Time{}), BuildTool: "nitrolab", OperatingSystem: "Linux", KernelVersion: release},
		},
	}
	for i, disk := range [][]initramfs.File{initramfs.Bootstrap(init, modules), files} {
		a, err := initramfs.New(disk)
		if err != nil {
			return fmt.Errorf("ramdisk %d: %w", i, err)
		}
		im.Spec.Ramdisks = append(im.Spec.Ramdisks, a.Section())
	}
	return nil
}

// openKernel opens the kernel and tells its release.
func (im *Image) openKernel(path string) (*io.SectionReader, string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, "", fmt.Errorf("open kernel: %w", err)
	}
	im.kernel = f
	fi, err := f.Stat()
	if err != nil {
		return nil, "", fmt.Errorf("open kernel: %w", err)
	}
	info, err := kernelimage.Probe(f)
	if err != nil {
		return nil, "", fmt.Errorf("kernel %s: %w", path, err)
	}
	if info.Format != kernelimage.BzImage {
		return nil, "", fmt.Errorf("kernel %s: it is a %s, an image holds a bzImage", path, info.Format)
	}
	return io.NewSectionReader(f, 0, fi.Size()), info.Version, nil
}

// Close closes the kernel's file.
func (im *Image) Close() error {
	if im.kernel == nil {
		return nil
	}
	return im.kernel.Close()
}
