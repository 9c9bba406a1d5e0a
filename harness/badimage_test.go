package harness_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/harness"
	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
)

// A badImage is a request that must be refused before anything starts.
type badImage struct {
	name string
	spec func(*eif.Spec)       // changes the image before it is built
	raw  func(b []byte) []byte // changes the file; its CRC is set right again
	crc  bool                  // leaves the CRC wrong
	opts []harness.EnclaveOption
	want string // the sentence: field, what was found, what is allowed
}

var badImages = []badImage{
	{
		name: "empty file",
		raw:  func([]byte) []byte { return nil },
		want: "eif: file size is 0, the header alone has 548 bytes",
	}, {
		name: "wrong magic",
		raw:  func(b []byte) []byte { b[0] = 'e'; return b },
		want: `eif: magic is 65 65 69 66, allowed is 2e 65 69 66 (".eif")`,
	}, {
		name: "version 1",
		raw:  put16(offVersion, 1),
		want: "eif: version is 1, allowed are 2, 3 and 4",
	}, {
		name: "version 5",
		raw:  put16(offVersion, 5),
		want: "eif: version is 5, allowed are 2, 3 and 4",
	}, {
		name: "for arm64 by its flag",
		raw:  put16(offFlags, 1),
		want: "eif: architecture in flags is aarch64, the enclave is x86_64",
	}, {
		name: "for arm64 by its kernel",
		spec: func(s *eif.Spec) {
			k := make([]byte, 4096)
			copy(k[56:], "ARM\x64")
			s.Kernel = section(k)
		},
		want: "kernel of the image is for arm64; allowed is x86_64, whatever the header of the image says",
	}, {
		name: "wrong CRC",
		raw:  func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		crc:  true,
		want: "eif: eif_crc32 is ",
	}, {
		name: "cut in the header",
		raw:  func(b []byte) []byte { return b[:547] },
		want: "eif: file size is 547, the header alone has 548 bytes",
	}, {
		name: "cut in the last section",
		raw:  func(b []byte) []byte { return b[:len(b)-1] },
		want: "eif: section 4 (ramdisk): size is 9, the file has 8 bytes left",
	}, {
		name: "something behind it",
		raw:  func(b []byte) []byte { return append(b, 0) },
		want: "the bytes behind it belong to nothing",
	}, {
		name: "no kernel",
		raw:  dropSections(eif.SectionKernel, eif.SectionRamdisk),
		want: "eif: number of kernel sections is 0, allowed is exactly 1",
	}, {
		name: "no command line",
		raw:  dropSections(eif.SectionCmdline),
		want: "eif: number of cmdline sections is 0, allowed is exactly 1",
	}, {
		name: "no metadata in version 4",
		raw:  dropSections(eif.SectionMetadata),
		want: "eif: number of metadata sections is 0, version 4 requires 1",
	}, {
		name: "no ramdisk",
		raw:  dropSections(eif.SectionRamdisk),
		want: "number of ramdisks of the image is 0; allowed is 1 or more: the kernel has nothing to run without",
	}, {
		name: "kernel is no kernel",
		spec: func(s *eif.Spec) { s.Kernel = section([]byte(strings.Repeat("no kernel ", 100))) },
		want: "kernel of the image: read bzImage header: no HdrS magic",
	}, {
		name: "kernel of three bytes",
		spec: func(s *eif.Spec) { s.Kernel = section([]byte("abc")) },
		want: "kernel of the image: read kernel image: image ends at byte 3",
	}, {
		name: "kernel with a damaged payload",
		spec: func(s *eif.Spec) {
			p := kernelimagetest.Payload(noFail{}, "gzip", acpiKernel.ELF(noFail{}))
			p[len(p)/2] ^= 0xff
			s.Kernel = section(kernelimagetest.BzImage("6.12.0-fake", p))
		},
		want: "kernel of the image: ",
	}, {
		name: "memory of 63 MiB",
		opts: []harness.EnclaveOption{harness.Memory(63)},
		want: "memory is 63 MiB; allowed is 64 to 1048576 MiB",
	}, {
		name: "negative memory",
		opts: []harness.EnclaveOption{harness.Memory(-1)},
		want: "memory is -1 MiB; allowed is 64 to 1048576 MiB",
	}, {
		name: "memory below 4 times the image",
		spec: func(s *eif.Spec) { s.Ramdisks[1] = section(make([]byte, 20<<20)) },
		opts: []harness.EnclaveOption{harness.Memory(80)},
		want: "memory is 80 MiB; allowed is at least 81 MiB, 4 times the size of the image",
	}, {
		name: "no CPU",
		opts: []harness.EnclaveOption{harness.CPUs(0)},
		want: "CPU count is 0; allowed is 1 to 255",
	}, {
		name: "256 CPUs",
		opts: []harness.EnclaveOption{harness.CPUs(256)},
		want: "CPU count is 256; allowed is 1 to 255",
	}, {
		name: "CID 1, loopback",
		opts: []harness.EnclaveOption{harness.CID(1)},
		want: "enclave CID is 1; allowed is 4 to 4294967294, or 0 to choose one",
	}, {
		name: "CID 2, the parent to an enclave",
		opts: []harness.EnclaveOption{harness.CID(2)},
		want: "enclave CID is 2; allowed is 4 to 4294967294, or 0 to choose one",
	}, {
		name: "CID 3, the parent",
		opts: []harness.EnclaveOption{harness.CID(3)},
		want: "enclave CID is 3; allowed is 4 to 4294967294, or 0 to choose one",
	}, {
		name: "CID any",
		opts: []harness.EnclaveOption{harness.CID(1<<32 - 1)},
		want: "enclave CID is 4294967295; allowed is 4 to 4294967294, or 0 to choose one",
	},
}

// noFail is the TB of helpers that cannot fail on constant input.
type noFail struct{ testing.TB }

func (noFail) Helper() {}

// Whatever is wrong with an image or a request is one sentence, QEMU is not
// started, and nothing is left.
func TestBadImages(t *testing.T) {
	fake, started := fakeQEMU(t)
	host := harness.New(t, fake)
	for _, tt := range badImages {
		t.Run(tt.name, func(t *testing.T) {
			spec := fakeSpec(t, acpiKernel)
			if tt.spec != nil {
				tt.spec(&spec)
			}
			path, _ := writeEIF(t, spec)
			if tt.raw != nil {
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				b = tt.raw(b)
				if !tt.crc {
					fixCRC(b)
				}
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := host.TryEnclave(t, path, tt.opts...)
			mustRefuse(t, err, tt.want)
		})
	}
	for _, tt := range []struct{ name, path, want string }{
		{"no file", filepath.Join(t.TempDir(), "none.eif"), "none.eif: no such file or directory"},
		{"no name", "", "enclave image path is empty"},
		{"a folder", t.TempDir(), "not a regular file"},
		{"a device", os.DevNull, "not a regular file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := host.TryEnclave(t, tt.path)
			mustRefuse(t, err, tt.want)
		})
	}
	if n := count(t, started); n != 0 {
		t.Errorf("QEMU was started %d times, want never", n)
	}
	if list := host.Enclaves(); len(list) != 0 {
		t.Errorf("%d enclaves are left", len(list))
	}
	if left, err := os.ReadDir(host.Dir()); err != nil || len(left) != 0 {
		t.Errorf("left in the Host's folder: %v, %v", left, err)
	}
}

func mustRefuse(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatal("the image was accepted")
	}
	if text := emulator.Report(err); !strings.Contains(text, want) || strings.Contains(text, "\n") {
		t.Errorf("refused with\n  %s\nwant one line with\n  %s", text, want)
	}
}

// The base of the table is right: what each row refuses is its own fault.
func TestGoodImageReachesQEMU(t *testing.T) {
	fake, started := fakeQEMU(t)
	host := harness.New(t, fake)
	for _, raw := range []func([]byte) []byte{nil, dropSections()} {
		path := fakeEIF(t)
		if raw != nil {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b = raw(b)
			fixCRC(b)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := host.TryEnclave(t, path); err == nil || !strings.Contains(err.Error(), "no such machine") {
			t.Errorf("error is %v, want that of QEMU", err)
		}
	}
	if n := count(t, started); n != 2 {
		t.Errorf("QEMU was started %d times, want twice", n)
	}
}
