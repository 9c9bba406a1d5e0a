package eif_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/nitrolab/nitrolab/images/eif"
)

// The four sections of the smallest version 4 image.
var (
	secKernel   = rawSection{kernel, 0, "KERN"}
	secCmdline  = rawSection{cmdline, 0, "quiet"}
	secMetadata = rawSection{metadata, 0, "{}"}
	secRamdisk  = rawSection{ramdisk, 0, "R0"}
)

func put16(off int, v uint16) func([]byte) []byte {
	return func(b []byte) []byte { binary.BigEndian.PutUint16(b[off:], v); return b }
}

func put64(off int, v uint64) func([]byte) []byte {
	return func(b []byte) []byte { binary.BigEndian.PutUint64(b[off:], v); return b }
}

func sections(n int) []rawSection {
	s := []rawSection{secKernel, secCmdline, secMetadata}
	for len(s) < n {
		s = append(s, secRamdisk)
	}
	return s
}

// TestRules breaks one rule at a time. The base image is the golden one:
// sections at 548, 564, 581, 595, 609; 624 bytes.
func TestRules(t *testing.T) {
	tests := []struct {
		name   string
		base   []byte // nil: the golden image
		mutate func([]byte) []byte
		want   string // the whole message
		offset int64
	}{
		{
			name:   "empty file",
			mutate: func([]byte) []byte { return nil },
			want:   "eif: file size is 0, the header alone has 548 bytes",
			offset: -1,
		},
		{
			name:   "header cut",
			mutate: func(b []byte) []byte { return b[:547] },
			want:   "eif: file size is 547, the header alone has 548 bytes",
			offset: -1,
		},
		{
			name:   "magic",
			mutate: func(b []byte) []byte { b[3] = 'F'; return b },
			want:   `eif: magic is 2e 65 69 46, allowed is 2e 65 69 66 (".eif")`,
		},
		{
			name:   "version 0",
			mutate: put16(4, 0),
			want:   "eif: version is 0, allowed are 2, 3 and 4",
			offset: 4,
		},
		{
			name:   "version 1",
			mutate: put16(4, 1),
			want:   "eif: version is 1, allowed are 2, 3 and 4",
			offset: 4,
		},
		{
			name:   "version 5",
			mutate: put16(4, 5),
			want:   "eif: version is 5, allowed are 2, 3 and 4",
			offset: 4,
		},
		{
			name:   "one section",
			mutate: put16(26, 1),
			want:   "eif: num_sections is 1, allowed are 2 to 32",
			offset: 26,
		},
		{
			name:   "33 sections",
			mutate: put16(26, 33),
			want:   "eif: num_sections is 33, allowed are 2 to 32",
			offset: 26,
		},
		{
			name:   "65535 sections",
			mutate: put16(26, 0xffff),
			want:   "eif: num_sections is 65535, allowed are 2 to 32",
			offset: 26,
		},
		{
			name:   "first section inside the header",
			mutate: put64(28, 544),
			want:   "eif: section 0: offset is 544, the header ends at 548: sections must not overlap",
			offset: 28,
		},
		{
			name:   "gap behind the header",
			mutate: put64(28, 549),
			want:   "eif: section 0: offset is 549, the header ends at 548: the bytes between belong to nothing",
			offset: 28,
		},
		{
			name:   "offset behind the file",
			mutate: put64(28+8*4, 613),
			want:   "eif: section 4: offset is 613, its header must lie within the file of 624 bytes",
			offset: 28 + 8*4,
		},
		{
			name:   "offset beyond 63 bits",
			mutate: put64(28+8*1, 1<<63|564),
			want:   "eif: section 1: offset is 9223372036854776372, its header must lie within the file of 624 bytes",
			offset: 28 + 8*1,
		},
		{
			name:   "table out of file order",
			mutate: put64(28+8*2, 564),
			want:   "eif: section 2: offset is 564, the table must be in file order: section 1 (cmdline) starts at 564",
			offset: 28 + 8*2,
		},
		{
			name:   "overlap",
			mutate: put64(28+8*2, 580),
			want:   "eif: section 2: offset is 580, section 1 (cmdline) ends at 581: sections must not overlap",
			offset: 28 + 8*2,
		},
		{
			name:   "gap",
			mutate: put64(28+8*2, 582),
			want:   "eif: section 2: offset is 582, section 1 (cmdline) ends at 581: the bytes between belong to nothing",
			offset: 28 + 8*2,
		},
		{
			name:   "type 0",
			mutate: put16(609, 0),
			want:   "eif: section 4: type is 0, allowed are 1 (kernel) to 5 (metadata)",
			offset: 609,
		},
		{
			name:   "type 6",
			mutate: put16(609, 6),
			want:   "eif: section 4: type is 6, allowed are 1 (kernel) to 5 (metadata)",
			offset: 609,
		},
		{
			name:   "size in section header",
			mutate: put64(595+4, 10),
			want:   "eif: section 3 (ramdisk): size in section header is 10, header table says 2",
			offset: 599,
		},
		{
			name:   "size in table",
			mutate: put64(284+8*3, 12),
			want:   "eif: section 3 (ramdisk): size in section header is 2, header table says 12",
			offset: 599,
		},
		{
			name: "size beyond the file",
			mutate: func(b []byte) []byte {
				return put64(609+4, 4)(put64(284+8*4, 4)(b))
			},
			want:   "eif: section 4 (ramdisk): size is 4, the file has 3 bytes left",
			offset: 284 + 8*4,
		},
		{
			name: "size of 64 bits",
			mutate: func(b []byte) []byte {
				return put64(609+4, 1<<64-1)(put64(284+8*4, 1<<64-1)(b))
			},
			want:   "eif: section 4 (ramdisk): size is 18446744073709551615, the file has 3 bytes left",
			offset: 284 + 8*4,
		},
		{
			name:   "file cut",
			mutate: func(b []byte) []byte { return b[:623] },
			want:   "eif: section 4 (ramdisk): size is 3, the file has 2 bytes left",
			offset: 284 + 8*4,
		},
		{
			name:   "bytes behind the last section",
			mutate: func(b []byte) []byte { return append(b, 0) },
			want:   "eif: file size is 625, the last section ends at 624: the bytes behind it belong to nothing",
			offset: 624,
		},
		{
			name:   "fewer sections than the file has",
			mutate: put16(26, 4),
			want:   "eif: file size is 624, the last section ends at 609: the bytes behind it belong to nothing",
			offset: 609,
		},
		{
			name: "no kernel",
			base: rawImage(4, 0, secCmdline, secMetadata),
			want: "eif: number of kernel sections is 0, allowed is exactly 1", offset: -1,
		},
		{
			name: "two kernels",
			base: rawImage(4, 0, secKernel, secKernel, secCmdline, secMetadata),
			want: "eif: number of kernel sections is 2, allowed is exactly 1", offset: -1,
		},
		{
			name: "no command line",
			base: rawImage(4, 0, secKernel, secMetadata, secRamdisk),
			want: "eif: number of cmdline sections is 0, allowed is exactly 1", offset: -1,
		},
		{
			name: "two command lines",
			base: rawImage(4, 0, secKernel, secCmdline, secCmdline, secMetadata),
			want: "eif: number of cmdline sections is 2, allowed is exactly 1", offset: -1,
		},
		{
			name: "version 4 without metadata",
			base: rawImage(4, 0, secKernel, secCmdline, secRamdisk),
			want: "eif: number of metadata sections is 0, version 4 requires 1", offset: -1,
		},
		{
			name: "two metadata sections",
			base: rawImage(4, 0, secKernel, secCmdline, secMetadata, secMetadata),
			want: "eif: number of metadata sections is 2, allowed is at most 1", offset: -1,
		},
		{
			name: "two signatures",
			base: rawImage(4, 0, secKernel, secCmdline, secMetadata, rawSection{signature, 0, "x"}, rawSection{signature, 0, "x"}),
			want: "eif: number of signature sections is 2, allowed is at most 1", offset: -1,
		},
		{
			name:   "ramdisk before the kernel",
			base:   rawImage(4, 0, secRamdisk, secKernel, secCmdline, secMetadata),
			want:   "eif: section 0 (ramdisk): place is before the kernel, every ramdisk must come after the kernel",
			offset: 548,
		},
		{
			name:   "signature too large",
			base:   rawImage(4, 0, secKernel, secCmdline, secMetadata, rawSection{signature, 0, strings.Repeat("x", 32769)}),
			want:   "eif: section 3 (signature): size is 32769, allowed are at most 32768",
			offset: 284 + 8*3,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.base
			if b == nil {
				b = golden(t)
			}
			if tt.mutate != nil {
				b = tt.mutate(b)
			}
			_, err := eif.Open(bytes.NewReader(b), int64(len(b)))
			var format *eif.FormatError
			if !errors.As(err, &format) {
				t.Fatalf("error %v, want a FormatError", err)
			}
			if format.Error() != tt.want {
				t.Errorf("error %q\n want %q", format.Error(), tt.want)
			}
			if format.Offset != tt.offset {
				t.Errorf("offset %d, want %d", format.Offset, tt.offset)
			}
		})
	}
}

// TestAccepted has what the specification allows or does not regard, some of
// which QEMU's loader refuses.
func TestAccepted(t *testing.T) {
	tests := []struct {
		name string
		b    []byte
		arch eif.Arch
	}{
		{name: "version 2", b: rawImage(2, 0, secKernel, secCmdline, secRamdisk)},
		{name: "version 3 signed", b: rawImage(3, 0, secKernel, secCmdline, secRamdisk, rawSection{signature, 0, "x"})},
		{name: "version 2 signed: handled like 3", b: rawImage(2, 0, secKernel, secCmdline, secRamdisk, rawSection{signature, 0, "x"})},
		{name: "version 2 with metadata: handled like 4", b: rawImage(2, 0, secKernel, secCmdline, secMetadata)},
		{name: "two sections", b: rawImage(3, 0, secKernel, secCmdline)},
		{name: "no ramdisk", b: rawImage(4, 0, secKernel, secCmdline, secMetadata)},
		{name: "32 sections", b: rawImage(4, 0, sections(32)...)},
		{name: "aarch64", b: rawImage(4, 1, sections(4)...), arch: eif.AArch64},
		{name: "reserved flags", b: rawImage(4, 0xfffe, sections(4)...)},
		{name: "reserved flags of sections", b: rawImage(4, 0, rawSection{kernel, 0xffff, "K"}, secCmdline, secMetadata)},
		{name: "reserved fields", b: fixCRC(put16(24, 0xffff)(put64(0x214, 99)(golden(t))))},
		{name: "unused table entries", b: fixCRC(put64(28+8*31, 7)(golden(t)))},
		{name: "command line first", b: rawImage(4, 0, secCmdline, secKernel, secRamdisk, secMetadata)},
		{name: "metadata last", b: rawImage(4, 0, secKernel, secCmdline, secRamdisk, secMetadata)},
		{name: "metadata that is no JSON", b: rawImage(4, 0, secKernel, secCmdline, rawSection{metadata, 0, "\x00"}, secRamdisk)},
		{name: "empty sections", b: rawImage(4, 0, rawSection{typ: kernel}, rawSection{typ: cmdline}, rawSection{typ: metadata}, rawSection{typ: ramdisk})},
		{name: "largest signature", b: rawImage(4, 0, append(sections(4), rawSection{signature, 0, strings.Repeat("x", 32768)})...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			im := open(t, tt.b)
			if im.Arch() != tt.arch {
				t.Errorf("arch %v, want %v", im.Arch(), tt.arch)
			}
			if im.Signed() {
				return // "x" is no signature: Measure says so, TestSignatureMalformed
			}
			if _, err := im.Verify(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestVerifyCRC(t *testing.T) {
	for _, off := range []int{8, 16, 24, 0x21c, 0x220, 28 + 8*20, 548 + 12, 610 + 12} {
		b := golden(t)
		b[off] ^= 0x40
		_, err := open(t, b).Verify()
		var format *eif.FormatError
		if !errors.As(err, &format) || format.Field != "eif_crc32" || format.Offset != 0x220 {
			t.Errorf("byte %#x changed: error %v", off, err)
		}
	}
}

func TestRequireArch(t *testing.T) {
	im := open(t, rawImage(4, 1, sections(4)...))
	if err := im.RequireArch(eif.AArch64); err != nil {
		t.Error(err)
	}
	err := im.RequireArch(eif.X86_64)
	if want := "eif: architecture in flags is aarch64, the enclave is x86_64"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestOpenPrefix reads an image from memory that goes on behind it, as a parent
// hands it to the hypervisor.
func TestOpenPrefix(t *testing.T) {
	memory := append(golden(t), make([]byte, 4096)...)
	im, err := eif.OpenPrefix(bytes.NewReader(memory), int64(len(memory)))
	if err != nil {
		t.Fatal(err)
	}
	if im.Size() != 624 {
		t.Errorf("size %d", im.Size())
	}
	if _, err := im.Verify(); err != nil {
		t.Error(err)
	}
	if _, err := eif.OpenPrefix(bytes.NewReader(memory), 623); err == nil {
		t.Error("limit inside the image accepted")
	}
}

// failAfter is a file that cannot be read from offset n on.
type failAfter struct {
	io.ReaderAt
	n   int64
	err error
}

func (f failAfter) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.n {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(p, off)
}

func TestReadErrors(t *testing.T) {
	broken := errors.New("disk broken")
	b := golden(t)
	for _, tt := range []struct {
		name string
		n    int64
		err  error
		want error
	}{
		{"in the header", 100, broken, broken},
		{"in a section header", 600, broken, broken},
		{"file shrank", 600, io.EOF, io.ErrUnexpectedEOF},
	} {
		_, err := eif.Open(failAfter{bytes.NewReader(b), tt.n, tt.err}, int64(len(b)))
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.want)
		}
	}
	im, err := eif.Open(failAfter{bytes.NewReader(b), 621, broken}, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := im.Measure(); !errors.Is(err, broken) || !strings.Contains(err.Error(), "section 4 (ramdisk)") {
		t.Errorf("in section data: error %v", err)
	}
}

func TestBoundedLoads(t *testing.T) {
	im := open(t, rawImage(4, 0, secKernel, rawSection{cmdline, 0, strings.Repeat("c", eif.MaxCmdline+1)},
		rawSection{metadata, 0, strings.Repeat(" ", eif.MaxMetadata+1)}))
	var format *eif.FormatError
	if _, err := im.Cmdline(); !errors.As(err, &format) || format.Found != "65537" {
		t.Errorf("cmdline: %v", err)
	}
	if _, err := im.MetadataJSON(); !errors.As(err, &format) || format.Found != "4194305" {
		t.Errorf("metadata: %v", err)
	}
	if _, err := im.Verify(); err != nil {
		t.Errorf("large sections must still be measured: %v", err)
	}
}

func TestWarnings(t *testing.T) {
	tests := []struct {
		name     string
		sections []rawSection
		want     []string
	}{
		{"fine", []rawSection{secKernel, secCmdline, {ramdisk, 0, "0707"}, {ramdisk, 0, "07"}}, nil},
		{"compressed may start anywhere", []rawSection{secKernel, secCmdline, {ramdisk, 0, "07"}, {ramdisk, 0, "\x1f\x8b"}}, nil},
		{"no ramdisk", []rawSection{secKernel, secCmdline}, []string{"the image has no ramdisk: the kernel will find no /init"}},
		{"misaligned", []rawSection{secKernel, secCmdline, {ramdisk, 0, "07"}, {ramdisk, 0, "07"}},
			[]string{"ramdisk 1 is uncompressed and starts at byte 2 of the initramfs, no multiple of 4: the kernel will not unpack it"}},
		{"long line", []rawSection{secKernel, {cmdline, 0, strings.Repeat("c", 2048)}, {ramdisk, 0, "07"}},
			[]string{"the command line has 2048 bytes, a kernel keeps 2047"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := open(t, rawImage(3, 0, tt.sections...)).Warnings()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
