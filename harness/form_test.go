package harness_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/harness"
	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
)

// The machine is chosen by what the kernel of the image can find devices with,
// the log says which and why, and it can be forced.
func TestMachineForm(t *testing.T) {
	var (
		both    = kernelimagetest.Kernel{Release: "6.1.0-fake", Strings: append([]string{"LNRO0005"}, cmdlineKernel.Strings...)}
		neither = kernelimagetest.Kernel{Release: "6.1.0-fake"}
		config  = kernelimagetest.Kernel{Release: "6.1.0-fake", Config: "CONFIG_VIRTIO_MMIO=m\nCONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y\n"}
	)
	const (
		takes  = `because=the kernel takes virtio_mmio.device= on its command line`
		acpi   = `because=the kernel finds virtio-mmio devices through ACPI only`
		forced = `because=as asked for`
		opaque = `because=the kernel cannot be looked into, so as on real Nitro hosts`
	)
	tests := []struct {
		name    string
		kernel  kernelimagetest.Kernel
		packing string // of the kernel; empty is gzip
		form    emulator.Form
		want    emulator.Form
		because string
	}{
		{"Debian's", acpiKernel, "", emulator.FormAuto, emulator.FormACPI, acpi},
		{"Nitro's", cmdlineKernel, "", emulator.FormAuto, emulator.FormCmdline, takes},
		{"knows both", both, "", emulator.FormAuto, emulator.FormCmdline, takes},
		{"shows neither", neither, "", emulator.FormAuto, emulator.FormACPI, acpi},
		{"says so in its configuration", config, "", emulator.FormAuto, emulator.FormCmdline, takes},
		{"packed with LZO", acpiKernel, "lzo", emulator.FormAuto, emulator.FormCmdline, opaque},
		{"Debian's, forced", acpiKernel, "", emulator.FormCmdline, emulator.FormCmdline, forced},
		{"Nitro's, forced", cmdlineKernel, "", emulator.FormACPI, emulator.FormACPI, forced},
		{"Debian's, forced to what it is", acpiKernel, "", emulator.FormACPI, emulator.FormACPI, forced},
		{"packed with LZO, forced", acpiKernel, "lzo", emulator.FormACPI, emulator.FormACPI, forced},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := fakeSpec(t, tt.kernel)
			if tt.packing == "lzo" {
				// Its magic (lib/decompress.c); nothing here can make more of it.
				spec.Kernel = section(kernelimagetest.BzImage(tt.kernel.Release, append([]byte("\x89LZO\x00\x0d\x0a\x1a\x0a"), make([]byte, 100)...)))
			}
			path, _ := writeEIF(t, spec)
			var err error
			r := record(t, "TestFakeForm", func(tb testing.TB) {
				_, err = fakeHost(tb).TryEnclave(tb, path, harness.Form(tt.form))
			})
			var infra *qemu.InfraError
			if !errors.As(err, &infra) {
				t.Fatalf("error is %v, want that of QEMU", err)
			}
			r.mustSay(t, "machine chosen", "form="+tt.want.String()+" "+tt.because, "kernel="+tt.kernel.Release)
			machine := map[emulator.Form]string{emulator.FormACPI: "-M microvm,acpi=on,", emulator.FormCmdline: "-M microvm,acpi=off,"}[tt.want]
			if !strings.Contains(infra.Reproduce, machine) {
				t.Errorf("command line lacks %q: %s", machine, infra.Reproduce)
			}
			// The reset of "reboot=k", memory that device models can see, and what
			// TCG cannot find out by itself, in both forms (enclave-observed.md
			// section 3).
			always := []string{"-device i8042", "share=on", "-append 'console=ttyS0"}
			if _, err := qemu.HostTSCKHz(); err == nil {
				always = append(always, "tsc_early_khz=")
			}
			for _, want := range always {
				if !strings.Contains(infra.Reproduce, want) {
					t.Errorf("command line lacks %q: %s", want, infra.Reproduce)
				}
			}
		})
	}
}
