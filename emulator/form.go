package emulator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage"
)

// Form is how the machine of an enclave announces its virtio-mmio devices.
type Form uint8

const (
	// FormAuto chooses by the image.
	FormAuto Form = iota

	// FormACPI describes the devices in ACPI tables, for distribution kernels
	// such as Debian's, which look nowhere else.
	FormACPI

	// FormCmdline announces them with virtio_mmio.device= on the kernel command
	// line and has no ACPI, as real Nitro hosts do.
	FormCmdline
)

var formNames = []string{"auto", "acpi", "cmdline"}

// String is "auto", "acpi" or "cmdline".
func (f Form) String() string {
	if int(f) < len(formNames) {
		return formNames[f]
	}
	return fmt.Sprintf("Form(%d)", uint8(f))
}

// ParseForm is the inverse of String.
func ParseForm(text string) (Form, error) {
	if i := slices.Index(formNames, text); i >= 0 {
		return Form(i), nil
	}
	return 0, fmt.Errorf("machine form is %q; allowed are %s", text, strings.Join(formNames, ", "))
}

// A bootPlan is what an image needs of its machine, and why.
type bootPlan struct {
	form   Form
	reason string
	// vmlinux is the uncompressed kernel to start instead of the bzImage, empty
	// if there is none: with the PVH entry QEMU starts it faster. (Debian's 6.12
	// under TCG, to the end of a guest that ends at once: 3.3 s against 4.1 s.)
	vmlinux string
	kernel  string // release, for the log
}

// planBoot chooses the machine for an image; wanted overrides the choice.
func planBoot(im *eif.Image, wanted Form, cache kernelCache) (bootPlan, error) {
	kernel := im.Kernel()
	k, err := cache.inspect(kernel, kernel.Size())
	if err != nil {
		return bootPlan{}, fmt.Errorf("kernel of the image: %w", err)
	}
	if k.Info.Format == kernelimage.ARM64 {
		return bootPlan{}, &RequestError{"kernel of the image", "for arm64", "x86_64, whatever the header of the image says"}
	}
	plan := bootPlan{form: wanted, vmlinux: k.path, kernel: k.Info.Version}
	switch {
	case wanted != FormAuto:
		plan.reason = "as asked for"
	case k.Opaque:
		// What cannot be looked into is no distribution kernel known.
		plan.form, plan.reason = FormCmdline, "the kernel cannot be looked into, so as on real Nitro hosts"
	case k.Info.Discovery() == kernelimage.ByCmdline:
		plan.form, plan.reason = FormCmdline, "the kernel takes virtio_mmio.device= on its command line"
	default:
		plan.form, plan.reason = FormACPI, "the kernel finds virtio-mmio devices through ACPI only"
	}
	return plan, nil
}
