package kmod

import (
	"debug/elf"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/images/kmod/kmodtest"
)

func TestParseInfo(t *testing.T) {
	tests := []struct {
		name  string
		image []byte
		want  Info
	}{
		{
			"as of Debian's kernel",
			kmodtest.Module("license=GPL", "depends=vmw_vsock_virtio_transport_common,vsock", "intree=Y", "name=vmw_vsock_virtio_transport",
				"vermagic=6.12.107+deb13-cloud-amd64 SMP preempt mod_unload modversions "),
			Info{"vmw_vsock_virtio_transport", "6.12.107+deb13-cloud-amd64", []string{"vmw_vsock_virtio_transport_common", "vsock"}},
		},
		{"padding and dashes", kmodtest.Module("", "", "depends=a-b,c", "junk", "name=x-y"), Info{Name: "x_y", Depends: []string{"a_b", "c"}}},
		{"nothing", kmodtest.Module("depends="), Info{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseInfo(tt.image)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("info (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseInfoErrors(t *testing.T) {
	tests := []struct {
		name  string
		image []byte
		want  string
	}{
		{"empty", nil, "not an ELF object"},
		{"program", kmodtest.Object(elf.ET_EXEC, ".modinfo", elf.SHT_PROGBITS, nil), "ET_REL"},
		{"object that is no module", kmodtest.Object(elf.ET_REL, ".text", elf.SHT_PROGBITS, nil), "no section .modinfo"},
		{"section without content", kmodtest.Object(elf.ET_REL, ".modinfo", elf.SHT_NOBITS, nil), "section .modinfo"},
		{"large section", kmodtest.Module(strings.Repeat("x", maxInfo)), "section .modinfo"},
		{"path as dependency", kmodtest.Module("depends=../../evil"), "no module name"},
		{"empty dependency", kmodtest.Module("depends=a,,b"), "no module name"},
		{"path as name", kmodtest.Module("name=a/b"), "no module name"},
		{"many dependencies", kmodtest.Module("depends=" + strings.Repeat("a,", maxDepends) + "a"), "more than"},
		{"many entries", kmodtest.Module(strings.Repeat("\x00", maxStrings+1)), "more than"},
		{"cut", kmodtest.Module("depends=a")[:70], "not an ELF object"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ParseInfo(tt.image); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// FuzzModinfo reads any bytes as a module. What is accepted names modules that
// are safe as file names.
func FuzzModinfo(f *testing.F) {
	f.Add(kmodtest.Module("name=nsm", "depends=a,b-c", "vermagic=6.12 SMP"))
	f.Add(kmodtest.Module("depends=../x"))
	f.Add(kmodtest.Object(elf.ET_REL, ".modinfo", elf.SHT_NOBITS, nil))
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, image []byte) {
		info, err := ParseInfo(image)
		if err != nil {
			return
		}
		for _, d := range append(info.Depends, info.Name) {
			if strings.ContainsAny(d, "/.\x00\n") {
				t.Fatalf("name %q", d)
			}
		}
	})
}
