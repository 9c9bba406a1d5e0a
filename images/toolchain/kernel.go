package toolchain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage"
)

// A Kernel is a Linux kernel for guests. Its paths are absolute.
type Kernel struct {
	Source  Source
	Release string // as uname -r gives it, empty if the image does not say
	Image   string // bzImage, or an ELF if the caller named one

	// Vmlinux is the uncompressed kernel as an ELF with a PVH entry point, which
	// boots 2.5 s sooner under TCG than Image. Empty if the kernel has no such
	// entry point; Image must do then.
	Vmlinux string

	// ConfigFile is the kernel's configuration, empty if it is not known.
	ConfigFile string
	// ModulesDir is what is /lib/modules/RELEASE in the guest, empty if there
	// are no modules.
	ModulesDir string

	config func() (kernelimage.Config, error)
}

// Config gives the kernel's configuration, nil without error if it is not
// known. It is read once.
func (k *Kernel) Config() (kernelimage.Config, error) {
	if k.config == nil {
		return nil, nil
	}
	return k.config()
}

// HasConfig reports whether a symbol is built in or a module, "VIRTIO_MMIO" or
// with CONFIG_ in front. False where the configuration is not known or not
// readable.
func (k *Kernel) HasConfig(name string) bool {
	c, err := k.Config()
	return err == nil && c.Has(name)
}

// useConfig makes name the configuration if it is there.
func (k *Kernel) useConfig(name string) {
	if _, err := os.Stat(name); err != nil {
		return
	}
	k.ConfigFile = name
	k.config = sync.OnceValues(func() (kernelimage.Config, error) {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read kernel configuration: %w", err)
		}
		defer f.Close()
		return kernelimage.ParseConfig(f)
	})
}

// debianKernel gives the kernel in an unpacked tree.
func debianKernel(root string) (*Kernel, error) {
	images, err := filepath.Glob(filepath.Join(escapeGlob(root), "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return nil, fmt.Errorf("find kernel in %s: %d images", root, len(images))
	}
	k := &Kernel{Source: Debian, Image: images[0], Release: filepath.Base(images[0])[len("vmlinuz-"):]}
	k.useConfig(filepath.Join(root, "boot", "config-"+k.Release))
	if k.ModulesDir, err = oneOf("kernel modules", root, "usr/lib/modules/"+k.Release, "lib/modules/"+k.Release); err != nil {
		return nil, err
	}
	if v := filepath.Join(root, "boot", "vmlinux-"+k.Release); exists(v) {
		k.Vmlinux = v
	}
	return k, nil
}

// extract writes the uncompressed kernel to name if it is of use there: if it
// has a PVH entry point. One that cannot be unpacked here boots from its own
// image.
func (k *Kernel) extract(ctx context.Context, name string) error {
	f, err := os.Open(k.Image)
	if err != nil {
		return fmt.Errorf("unpack kernel: %w", err)
	}
	defer f.Close()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var vmlinux bytes.Buffer
	_, err = kernelimage.ExtractVmlinux(&vmlinux, f)
	if errors.Is(err, kernelimage.ErrCompression) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("unpack kernel %s: %w", k.Image, err)
	}
	info, err := kernelimage.Probe(bytes.NewReader(vmlinux.Bytes()))
	if err != nil {
		return fmt.Errorf("unpack kernel %s: %w", k.Image, err)
	}
	if !info.PVH {
		return nil
	}
	if err := writeFile(name, vmlinux.Bytes()); err != nil {
		return err
	}
	k.Vmlinux = name
	return nil
}

// escapeGlob makes a path match itself.
func escapeGlob(path string) string {
	var b []byte
	for _, c := range []byte(path) {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	return string(b)
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
