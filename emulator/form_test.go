package emulator

import (
	"errors"
	"strings"
	"testing"

	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage"
	kit "github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
)

func TestPlanBoot(t *testing.T) {
	debian := kit.Kernel{Release: "6.12.117+deb13-cloud-amd64", PVH: true}
	nitro := kit.Kernel{Release: "4.14.256", Strings: []string{"virtio,mmio", "virtio-mmio-cmdline", "virtio_mmio.device"}}
	bz := func(k kit.Kernel) []byte { return kit.BzImage(k.Release, kit.Payload(t, "gzip", k.ELF(t))) }
	arm := append(make([]byte, 56), "ARM\x64\x00\x00\x00\x00Linux version 6.6.79 (x)\x00"...)
	tests := []struct {
		name     string
		kernel   []byte
		wanted   Form
		form     Form
		reason   string
		unpacked bool
		err      string
	}{
		{"Debian's", bz(debian), FormAuto, FormACPI, "through ACPI only", true, ""},
		{"Nitro's", bz(nitro), FormAuto, FormCmdline, "takes virtio_mmio.device= on its command line", false, ""},
		{"Nitro's, forced", bz(nitro), FormACPI, FormACPI, "as asked for", false, ""},
		{"Debian's, forced", bz(debian), FormCmdline, FormCmdline, "as asked for", true, ""},
		{"opaque", kit.BzImage("5.4", []byte("\x89LZO\x00\r\n\x1a\n and so on, and on")), FormAuto, FormCmdline, "cannot be looked into", false, ""},
		{"opaque, forced", kit.BzImage("5.4", []byte("\x89LZO\x00\r\n\x1a\n and so on, and on")), FormACPI, FormACPI, "as asked for", false, ""},
		{"for arm64", arm, FormAuto, 0, "", false, "kernel of the image is for arm64; allowed is x86_64"},
		{"none", []byte("not a kernel, whatever it is"), FormAuto, 0, "", false, "kernel of the image: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := smallSpec(t)
			spec.Kernel = section(tt.kernel)
			im, err := eif.OpenFile(writeEIF(t, spec))
			if err != nil {
				t.Fatal(err)
			}
			defer im.Close()
			plan, err := planBoot(im.Image, tt.wanted, kernelCache{t.TempDir()})
			if tt.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.err) {
					t.Errorf("error %v, want %s", err, tt.err)
				}
				var request *RequestError
				if !errors.As(err, &request) && !errors.Is(err, kernelimage.ErrFormat) {
					t.Errorf("error %T says nothing to a caller", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if plan.form != tt.form || !strings.Contains(plan.reason, tt.reason) || (plan.vmlinux != "") != tt.unpacked {
				t.Errorf("plan %+v, want form %s because %q, unpacked: %v", plan, tt.form, tt.reason, tt.unpacked)
			}
		})
	}
}

func TestForms(t *testing.T) {
	for _, f := range []Form{FormAuto, FormACPI, FormCmdline} {
		if got, err := ParseForm(f.String()); err != nil || got != f {
			t.Errorf("ParseForm(%q) = %v, %v", f.String(), got, err)
		}
	}
	_, err := ParseForm("pci")
	if want := `machine form is "pci"; allowed are auto, acpi, cmdline`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if got := Form(9).String(); got != "Form(9)" {
		t.Errorf("form 9 is %q", got)
	}
}
