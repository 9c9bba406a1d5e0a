package kernelimage_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage"
	kit "github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
)

// nitro is a kernel built as AWS's enclave configuration has it, stock one as
// Debian's cloud flavour.
var (
	nitro = kit.Kernel{
		Release: "6.6.79", Pad: 100 << 10,
		Strings: []string{"virtio,mmio", "LNRO0005", "virtio-mmio-cmdline", "virtio_mmio.device", "\x016MPTABLE: OEM ID: %s\n"},
	}
	stock = kit.Kernel{Release: "6.12.117+deb13-cloud-amd64", PVH: true, Pad: 100 << 10}
)

func TestProbe(t *testing.T) {
	all := kernelimage.VirtioMMIO{BuiltIn: true, Cmdline: true, ACPI: true}
	config := kit.Kernel{Release: "6.1.0", Config: "#\n# Linux/x86\nCONFIG_VIRTIO_MMIO=m\n# CONFIG_X is not set\nCONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y\nCONFIG_NR_CPUS=64\nCONFIG_S=\"a=b\"\n"}
	acpiOnly := kit.Kernel{Release: "6.1.0", Strings: []string{"virtio,mmio", "LNRO0005",
		"console=ttyS0 virtio_mmio.device=4K@0xd0000000:5"}} // a built-in command line is no parameter
	arm := append(make([]byte, 56), "ARM\x64\x00\x00\x00\x00Linux version 6.6.79 (x)\x00"...)
	tests := []struct {
		name          string
		image         []byte
		want          kernelimage.Info
		wantDiscovery kernelimage.Discovery
	}{
		{
			name:  "stock bzImage",
			image: kit.BzImage(stock.Release, kit.Payload(t, "zstd", stock.ELF(t))),
			want: kernelimage.Info{Format: kernelimage.BzImage, Compression: kernelimage.Zstd,
				Version: stock.Release, PVH: true, Size: int64(len(stock.ELF(t)))},
			wantDiscovery: kernelimage.ByACPI,
		},
		{
			name:  "Nitro bzImage",
			image: kit.BzImage(nitro.Release, kit.Payload(t, "gzip", nitro.ELF(t))),
			want: kernelimage.Info{Format: kernelimage.BzImage, Compression: kernelimage.Gzip,
				Version: nitro.Release, Size: int64(len(nitro.ELF(t))), VirtioMMIO: all, MPTable: true},
			wantDiscovery: kernelimage.ByCmdline,
		},
		{
			name:  "header without release",
			image: kit.BzImage("", kit.Payload(t, "gzip", nitro.ELF(t))),
			want: kernelimage.Info{Format: kernelimage.BzImage, Compression: kernelimage.Gzip,
				Version: nitro.Release, Size: int64(len(nitro.ELF(t))), VirtioMMIO: all, MPTable: true},
			wantDiscovery: kernelimage.ByCmdline,
		},
		{
			name:          "ELF",
			image:         stock.ELF(t),
			want:          kernelimage.Info{Format: kernelimage.ELF, Compression: kernelimage.None, Version: stock.Release, PVH: true, Size: int64(len(stock.ELF(t)))},
			wantDiscovery: kernelimage.ByACPI,
		},
		{
			name:          "arm64",
			image:         arm,
			want:          kernelimage.Info{Format: kernelimage.ARM64, Compression: kernelimage.None, Version: "6.6.79", Size: int64(len(arm))},
			wantDiscovery: kernelimage.ByACPI,
		},
		{
			name:  "embedded configuration decides",
			image: config.ELF(t),
			want: kernelimage.Info{Format: kernelimage.ELF, Compression: kernelimage.None, Version: "6.1.0", Size: int64(len(config.ELF(t))),
				Config: kernelimage.Config{"CONFIG_VIRTIO_MMIO": "m", "CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES": "y", "CONFIG_NR_CPUS": "64", "CONFIG_S": `"a=b"`}},
			wantDiscovery: kernelimage.ByCmdline,
		},
		{
			name:  "built in, but by ACPI only",
			image: acpiOnly.ELF(t),
			want: kernelimage.Info{Format: kernelimage.ELF, Compression: kernelimage.None, Version: "6.1.0", Size: int64(len(acpiOnly.ELF(t))),
				VirtioMMIO: kernelimage.VirtioMMIO{BuiltIn: true, ACPI: true}},
			wantDiscovery: kernelimage.ByACPI,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := kernelimage.Probe(bytes.NewReader(tt.image))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("info (-want +got):\n%s", diff)
			}
			if d := got.Discovery(); d != tt.wantDiscovery {
				t.Errorf("discovery by %s, want %s", d, tt.wantDiscovery)
			}
		})
	}
}

func TestExtractVmlinux(t *testing.T) {
	// Large enough for several lz4 blocks.
	big := kit.Kernel{Release: "6.1.0", PVH: true, Pad: 20 << 20}.ELF(t)
	for _, c := range []string{"none", "gzip", "lzma", "xz", "lz4", "zstd"} {
		t.Run(c, func(t *testing.T) {
			image := kit.BzImage("6.1.0", kit.Payload(t, c, big))
			var out bytes.Buffer
			n, err := kernelimage.ExtractVmlinux(&out, bytes.NewReader(image))
			if err != nil {
				t.Fatal(err)
			}
			if n != int64(len(big)) || !bytes.Equal(out.Bytes(), big) {
				t.Errorf("gave %d bytes, not the %d that were packed", n, len(big))
			}
		})
	}
	t.Run("ELF is copied", func(t *testing.T) {
		var out bytes.Buffer
		if _, err := kernelimage.ExtractVmlinux(&out, bytes.NewReader(big)); err != nil || !bytes.Equal(out.Bytes(), big) {
			t.Errorf("copy differs, error %v", err)
		}
	})
	t.Run("writer fails", func(t *testing.T) {
		want := errors.New("full")
		if _, err := kernelimage.ExtractVmlinux(failing{want}, bytes.NewReader(big)); !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
		}
	})
	t.Run("reader fails", func(t *testing.T) {
		want := errors.New("gone")
		if _, err := kernelimage.ExtractVmlinux(io.Discard, failing{want}); !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
		}
	})
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error)         { return 0, f.err }
func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

// edit gives a copy of b with some bytes at off changed.
func edit(b []byte, off int, to ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[off:], to)
	return b
}

func edit32(b []byte, off int, v uint32) []byte {
	return edit(b, off, binary.LittleEndian.AppendUint32(nil, v)...)
}

func TestHostileImages(t *testing.T) {
	elf := stock.ELF(t)
	good := kit.BzImage("6.12", kit.Payload(t, "zstd", elf))
	stated := func(c string, n uint32) []byte { // says that it unpacks to n bytes
		return kit.BzImage("6.12", binary.LittleEndian.AppendUint32(kit.Pack(t, c, elf), n))
	}
	bomb := make([]byte, 32<<20)
	tests := []struct {
		name  string
		image []byte
		want  error
	}{
		{"empty", nil, kernelimage.ErrFormat},
		{"short", good[:100], kernelimage.ErrFormat},
		{"zeros", make([]byte, 4096), kernelimage.ErrFormat},
		{"no HdrS", edit(good, 0x202, 'h'), kernelimage.ErrFormat},
		{"old protocol", edit(good, 0x206, 7, 2), kernelimage.ErrFormat},
		{"payload beyond the end", edit32(good, 0x248, 1<<31), kernelimage.ErrFormat},
		{"payload cut off", good[:len(good)-8], kernelimage.ErrFormat},
		{"payload length 0", edit32(good, 0x24c, 0), kernelimage.ErrFormat},
		{"payload length huge", edit32(good, 0x24c, 1<<32-1), kernelimage.ErrTooBig},
		{"payload of another kind", kit.BzImage("6.12", []byte("this is not a kernel at all")), kernelimage.ErrFormat},
		{"payload is no ELF", kit.BzImage("6.12", kit.Payload(t, "zstd", make([]byte, 4096))), kernelimage.ErrFormat},
		{"payload damaged", edit(good, len(good)-len(kit.Payload(t, "zstd", elf))+40, 0xff, 0xff, 0xff), kernelimage.ErrFormat},
		{"states too little", stated("zstd", uint32(len(elf))-1), kernelimage.ErrFormat},
		{"states too much", stated("zstd", uint32(len(elf))+1), kernelimage.ErrFormat},
		{"states far too much", stated("zstd", 1<<32-1), kernelimage.ErrTooBig},
		{"bomb that states itself", kit.BzImage("6.12", binary.LittleEndian.AppendUint32(kit.Pack(t, "zstd", bomb), 300<<20)), kernelimage.ErrTooBig},
		{"bomb that does not", kit.BzImage("6.12", binary.LittleEndian.AppendUint32(kit.Pack(t, "zstd", bomb), 1<<20)), kernelimage.ErrFormat},
		{"gzip bomb", kit.BzImage("6.12", edit32(kit.Pack(t, "gzip", bomb), len(kit.Pack(t, "gzip", bomb))-4, 1<<20)), kernelimage.ErrFormat},
		{"lz4 block beyond the end", kit.BzImage("6.12", edit32(kit.Payload(t, "lz4", elf), 4, 1<<31)), kernelimage.ErrFormat},
		{"lz4 block empty", kit.BzImage("6.12", edit32(kit.Payload(t, "lz4", elf), 4, 0)), kernelimage.ErrFormat},
		{"lzma with a huge dictionary", kit.BzImage("6.12", edit32(kit.Payload(t, "lzma", elf), 1, 1<<31)), kernelimage.ErrFormat},
		{"LZO", kit.BzImage("6.12", []byte("\x89LZO\x00\r\n\x1a\n and so on, and on")), kernelimage.ErrCompression},
		{"ELF for another machine", edit(elf, 18, 0xb7, 0), kernelimage.ErrFormat},
		{"ELF of no class", edit(elf, 4, 9), kernelimage.ErrFormat},
		{"ELF headers beyond the end", edit(elf, 32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), kernelimage.ErrFormat},
		{"ELF with many headers", edit(elf, 56, 0xff, 0xff), kernelimage.ErrFormat},
		{"ELF without headers", edit(elf, 56, 0, 0), kernelimage.ErrFormat},
		{"ELF segment beyond the end", edit(elf, 64+8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), kernelimage.ErrFormat},
		{"ELF segment too long", edit(elf, 64+56+32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), kernelimage.ErrFormat},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := kernelimage.Probe(bytes.NewReader(tt.image)); !errors.Is(err, tt.want) {
				t.Errorf("probe: error %v, want %v", err, tt.want)
			}
			var out bytes.Buffer
			if _, err := kernelimage.ExtractVmlinux(&out, bytes.NewReader(tt.image)); !errors.Is(err, tt.want) {
				t.Errorf("extract: error %v, want %v", err, tt.want)
			}
			if out.Len() != 0 {
				t.Errorf("extract wrote %d bytes of a bad image", out.Len())
			}
		})
	}
	t.Run("LZO tells what its header says", func(t *testing.T) {
		got, err := kernelimage.Probe(bytes.NewReader(kit.BzImage("6.12", []byte("\x89LZO\x00\r\n\x1a\n and so on, and on"))))
		want := kernelimage.Info{Format: kernelimage.BzImage, Compression: kernelimage.LZO, Version: "6.12"}
		if diff := cmp.Diff(want, got); diff != "" || !errors.Is(err, kernelimage.ErrCompression) {
			t.Errorf("error %v, info (-want +got):\n%s", err, diff)
		}
	})
}

func TestConfig(t *testing.T) {
	c, err := kernelimage.ParseConfig(strings.NewReader("# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=m\r\nCONFIG_D=7\nnonsense\nB=y\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(kernelimage.Config{"CONFIG_B": "y", "CONFIG_C": "m", "CONFIG_D": "7"}, c); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	for name, want := range map[string]bool{"CONFIG_B": true, "B": true, "C": true, "D": false, "A": false} {
		if got := c.Has(name); got != want {
			t.Errorf("Has(%s) = %v, want %v", name, got, want)
		}
	}
	if kernelimage.Config(nil).Has("B") {
		t.Error("a configuration that is not known has something")
	}
	if _, err := kernelimage.ParseConfig(strings.NewReader(strings.Repeat("CONFIG_B=y\n", 1<<20))); !errors.Is(err, kernelimage.ErrTooBig) {
		t.Errorf("long configuration: error %v, want ErrTooBig", err)
	}
}

func FuzzBzImage(f *testing.F) {
	for _, c := range []string{"none", "gzip", "lzma", "xz", "lz4", "zstd"} {
		small := kit.Kernel{Release: "6.1.0", PVH: true, Config: "CONFIG_A=y\n"}
		f.Add(kit.BzImage("6.1.0", kit.Payload(f, c, small.ELF(f))))
	}
	f.Add(kit.Kernel{Release: "6.1.0", PVH: true}.ELF(f))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := kernelimage.Probe(bytes.NewReader(b))
		var out bytes.Buffer
		n, extractErr := kernelimage.ExtractVmlinux(&out, bytes.NewReader(b))
		if n != int64(out.Len()) || n > kernelimage.MaxVmlinux {
			t.Errorf("says %d bytes, wrote %d", n, out.Len())
		}
		if err == nil && info.Format != kernelimage.ARM64 {
			if extractErr != nil {
				t.Errorf("probe reads it, extract says %v", extractErr)
			}
			if n != info.Size {
				t.Errorf("probe counts %d bytes, extract %d", info.Size, n)
			}
			again, err := kernelimage.Probe(bytes.NewReader(out.Bytes()))
			if err != nil || again.PVH != info.PVH || again.VirtioMMIO != info.VirtioMMIO {
				t.Errorf("what was extracted is another kernel: %+v, %v", again, err)
			}
		}
		_ = info.Discovery()
	})
}

func BenchmarkProbe(b *testing.B) {
	image := kit.BzImage("6.1.0", kit.Payload(b, "zstd", kit.Kernel{Release: "6.1.0", Pad: 50 << 20}.ELF(b)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := kernelimage.Probe(bytes.NewReader(image)); err != nil {
			b.Fatal(err)
		}
	}
}
