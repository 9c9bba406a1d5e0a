package instance

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/kmod"
)

// required are the drivers without which there is no instance: the transport of
// the virtio devices, the ports of the agent, vsock, and the enclaves' driver.
var required = []string{"virtio_pci", "virtio_console", "vmw_vsock_virtio_transport", "nitro_enclaves"}

// optional are drivers of cards that an instance may have. One that a kernel
// lacks is left out.
var optional = []string{"virtio_rng", "nvme", "vfio_iommu_type1", "vfio_pci", "virtio_blk", "virtio_net"}

// Modules are the kernel modules that an instance must have, and those that it
// takes if they are there. What is built into the kernel counts as there.
func Modules() (must, may []string) {
	return append([]string(nil), required...), append([]string(nil), optional...)
}

// Where modules are in the guest. PID 1 loads /modules in the order of the names.
const (
	orderDir = "modules"
	filesDir = "usr/lib/modules"
)

// resolve finds the modules, in the order of loading.
func (k Kernel) resolve() ([]kmod.Module, error) {
	if k.Modules == "" {
		return nil, nil
	}
	names := append(append([]string(nil), required...), optional...)
	modules, err := kmod.Resolve(k.Modules, names...)
	if missing := (*kmod.NotFoundError)(nil); errors.As(err, &missing) {
		names = append([]string(nil), required...)
		for _, name := range optional {
			if _, err := kmod.Resolve(k.Modules, name); err == nil {
				names = append(names, name)
			} else if !errors.As(err, &missing) {
				return nil, fmt.Errorf("kernel modules: %w", err)
			}
		}
		modules, err = kmod.Resolve(k.Modules, names...)
	}
	if err != nil {
		return nil, fmt.Errorf("kernel modules: %w", err)
	}
	release := k.Release
	for _, m := range modules {
		if release == "" {
			release = m.Release
		}
		// The release is a folder's name below.
		if m.Release != release || !fileName(release) {
			return nil, fmt.Errorf("module %s is of kernel %q, the kernel is %q", m.Name, m.Release, release)
		}
	}
	return modules, nil
}

// fileName reports whether s can be the name of a file.
func fileName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= 64 && !strings.ContainsAny(s, "/\x00\n")
}

// moduleFiles are the modules where modprobe looks for them, with the list of what
// depends on what, and a link for each in the order of loading. A module stays
// after it was loaded, so that a test can take a driver out and put it in again.
func moduleFiles(modules []kmod.Module) ([]cpio.Record, error) {
	files := []cpio.Record{cpio.Directory(orderDir, 0o755)}
	if len(modules) == 0 {
		return files, nil
	}
	var dep strings.Builder
	digits := max(2, len(strconv.Itoa(len(modules)-1)))
	release := modules[0].Release
	dir := path.Join(filesDir, release)
	for i, m := range modules {
		file := m.Name + ".ko"
		info, err := kmod.ParseInfo(m.Image)
		if err != nil {
			return nil, fmt.Errorf("module %s: %w", m.Name, err)
		}
		dep.WriteString(file + ":")
		for _, d := range info.Depends {
			dep.WriteString(" " + d + ".ko")
		}
		dep.WriteString("\n")
		files = append(files,
			cpio.StaticRecord(m.Image, cpio.Info{Name: path.Join(dir, file), Mode: cpio.S_IFREG | 0o644}),
			cpio.Symlink(fmt.Sprintf("%s/%0*d-%s", orderDir, digits, i, file), "/"+path.Join(dir, file)),
		)
	}
	return append(files, text(path.Join(dir, "modules.dep"), dep.String())), nil
}
