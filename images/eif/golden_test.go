package eif_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/images/eif"
)

// A rawSection is a section for rawImage.
type rawSection struct {
	typ   uint16
	flags uint16
	data  string
}

// The section types, as numbers of the specification.
const (
	kernel    = 1
	cmdline   = 2
	ramdisk   = 3
	signature = 4
	metadata  = 5
)

// rawImage writes an image byte by byte from the specification, independently
// of the package's writer, with a correct CRC.
func rawImage(version, flags uint16, sections ...rawSection) []byte {
	b := make([]byte, 548)
	copy(b, ".eif")
	binary.BigEndian.PutUint16(b[4:], version)
	binary.BigEndian.PutUint16(b[6:], flags)
	binary.BigEndian.PutUint64(b[8:], 1<<30)
	binary.BigEndian.PutUint64(b[16:], 2)
	binary.BigEndian.PutUint16(b[26:], uint16(len(sections)))
	for i, s := range sections {
		if i < 32 {
			binary.BigEndian.PutUint64(b[28+8*i:], uint64(len(b)))
			binary.BigEndian.PutUint64(b[284+8*i:], uint64(len(s.data)))
		}
		b = binary.BigEndian.AppendUint16(b, s.typ)
		b = binary.BigEndian.AppendUint16(b, s.flags)
		b = binary.BigEndian.AppendUint64(b, uint64(len(s.data)))
		b = append(b, s.data...)
	}
	return fixCRC(b)
}

// fixCRC sets the CRC of an image whose sections fill the file.
func fixCRC(b []byte) []byte {
	crc := crc32.NewIEEE()
	crc.Write(b[:544])
	crc.Write(b[548:])
	binary.BigEndian.PutUint32(b[544:], crc.Sum32())
	return b
}

// goldenHex is the smallest image a builder writes, made by hand from the
// specification: kernel "KERN", command line "quiet", metadata "{}", ramdisks
// "R0" and "R1!". The CRC is zlib's.
var goldenHex = strings.Join([]string{
	"2e656966", "0004", "0000", // .eif, version 4, x86_64
	"0000000040000000", "0000000000000002", // 1 GiB, 2 CPUs
	"0000", "0005", // reserved, 5 sections
	// Offsets: 548, then each behind 12 bytes of header and its data.
	"0000000000000224", "0000000000000234", "0000000000000245", "0000000000000253", "0000000000000261",
	strings.Repeat("0000000000000000", 27),
	// Sizes: 4, 5, 2, 2, 3.
	"0000000000000004", "0000000000000005", "0000000000000002", "0000000000000002", "0000000000000003",
	strings.Repeat("0000000000000000", 27),
	"00000000",                                     // unused
	goldenCRC,                                      // CRC-32
	"0001", "0000", "0000000000000004", "4b45524e", // kernel
	"0002", "0000", "0000000000000005", "7175696574", // cmdline
	"0005", "0000", "0000000000000002", "7b7d", // metadata
	"0003", "0000", "0000000000000002", "5230", // ramdisk
	"0003", "0000", "0000000000000003", "523121", // ramdisk
}, "")

const goldenCRC = "dce04662"

// emptyPCR is M of nothing, as it is in a genuine attestation document of 2025
// of an image with one ramdisk.
const emptyPCR = "21b9efbc184807662e966d34f390821309eeac6802309798826296bf3e8bec7c10edb30948c90ba67310f7b964fc500a"

func golden(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(goldenHex)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// m is M(x) = SHA384(0^48 || SHA384(x)), computed here by hand.
func m(x string) eif.Digest {
	inner, outer := sha512.New384(), sha512.New384()
	io.WriteString(inner, x)
	outer.Write(make([]byte, 48))
	outer.Write(inner.Sum(nil))
	return eif.Digest(outer.Sum(nil))
}

func open(t testing.TB, b []byte) *eif.Image {
	t.Helper()
	im, err := eif.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return im
}

func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestGoldenRead(t *testing.T) {
	im := open(t, golden(t))
	want := eif.Header{Version: 4, DefaultMem: 1 << 30, DefaultCPUs: 2, NumSections: 5, CRC: binary.BigEndian.Uint32(golden(t)[544:])}
	if diff := cmp.Diff(want, im.Header()); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	sections := []eif.Section{
		{Type: eif.SectionKernel, Offset: 548, Size: 4},
		{Type: eif.SectionCmdline, Offset: 564, Size: 5},
		{Type: eif.SectionMetadata, Offset: 581, Size: 2},
		{Type: eif.SectionRamdisk, Offset: 595, Size: 2},
		{Type: eif.SectionRamdisk, Offset: 609, Size: 3},
	}
	if diff := cmp.Diff(sections, im.Sections()); diff != "" {
		t.Errorf("sections (-want +got):\n%s", diff)
	}
	if im.Arch() != eif.X86_64 || im.Signed() || im.Size() != 624 {
		t.Errorf("arch %v, signed %v, size %d", im.Arch(), im.Signed(), im.Size())
	}
	if got := readAll(t, im.Kernel()); got != "KERN" {
		t.Errorf("kernel %q", got)
	}
	if got, err := im.Cmdline(); err != nil || got != "quiet" {
		t.Errorf("cmdline %q, %v", got, err)
	}
	if got, err := im.MetadataJSON(); err != nil || string(got) != "{}" {
		t.Errorf("metadata %q, %v", got, err)
	}
	if got := readAll(t, im.Initramfs()); got != "R0R1!" || im.InitramfsSize() != 5 {
		t.Errorf("initramfs %q, size %d", got, im.InitramfsSize())
	}
	got, err := im.Verify()
	if err != nil {
		t.Fatal(err)
	}
	wantM := eif.Measurements{PCR0: m("KERNquietR0R1!"), PCR1: m("KERNquietR0"), PCR2: m("R1!")}
	if diff := cmp.Diff(wantM, got); diff != "" {
		t.Errorf("measurements (-want +got):\n%s", diff)
	}
}

func TestMeasurements(t *testing.T) {
	tests := []struct {
		name     string
		sections []rawSection
		want     eif.Measurements
	}{
		{
			name:     "single ramdisk",
			sections: []rawSection{{kernel, 0, "K"}, {cmdline, 0, "c"}, {metadata, 0, "{}"}, {ramdisk, 0, "0"}},
			want:     eif.Measurements{PCR0: m("Kc0"), PCR1: m("Kc0"), PCR2: m("")},
		},
		{
			name:     "no ramdisk",
			sections: []rawSection{{kernel, 0, "K"}, {cmdline, 0, "c"}, {metadata, 0, "{}"}},
			want:     eif.Measurements{PCR0: m("Kc"), PCR1: m("Kc"), PCR2: m("")},
		},
		{
			name:     "file order counts, not the type",
			sections: []rawSection{{cmdline, 0, "c"}, {kernel, 0, "K"}, {ramdisk, 0, "0"}, {metadata, 0, "{}"}, {ramdisk, 0, "1"}},
			want:     eif.Measurements{PCR0: m("cK01"), PCR1: m("cK0"), PCR2: m("1")},
		},
		{
			name:     "command line behind the ramdisks",
			sections: []rawSection{{kernel, 0, "K"}, {ramdisk, 0, "0"}, {ramdisk, 0, "1"}, {ramdisk, 0, "2"}, {cmdline, 0, "c"}, {metadata, 0, "{}"}},
			want:     eif.Measurements{PCR0: m("K012c"), PCR1: m("K0c"), PCR2: m("12")},
		},
		{
			name:     "section flags and metadata are not measured",
			sections: []rawSection{{kernel, 7, "K"}, {cmdline, 7, "c"}, {metadata, 7, `{"a":1}`}, {ramdisk, 7, "0"}},
			want:     eif.Measurements{PCR0: m("Kc0"), PCR1: m("Kc0"), PCR2: m("")},
		},
		{
			name:     "larger than a chunk",
			sections: []rawSection{{kernel, 0, strings.Repeat("k", 700_001)}, {cmdline, 0, "c"}, {metadata, 0, "{}"}, {ramdisk, 0, strings.Repeat("0", 262_144)}, {ramdisk, 0, strings.Repeat("1", 262_145)}},
			want: eif.Measurements{
				PCR0: m(strings.Repeat("k", 700_001) + "c" + strings.Repeat("0", 262_144) + strings.Repeat("1", 262_145)),
				PCR1: m(strings.Repeat("k", 700_001) + "c" + strings.Repeat("0", 262_144)),
				PCR2: m(strings.Repeat("1", 262_145)),
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := open(t, rawImage(4, 0, tt.sections...)).Verify()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestEmptyPCR compares with a value from real hardware.
func TestEmptyPCR(t *testing.T) {
	got, err := open(t, rawImage(4, 0, rawSection{kernel, 0, "K"}, rawSection{cmdline, 0, "c"}, rawSection{metadata, 0, "{}"}, rawSection{ramdisk, 0, "0"})).Measure()
	if err != nil {
		t.Fatal(err)
	}
	if got.PCR2.String() != emptyPCR {
		t.Errorf("PCR2 %s, want %s", got.PCR2, emptyPCR)
	}
	if !bytes.Equal(got.PCR8[:], make([]byte, 48)) || got.Signed {
		t.Errorf("PCR8 %s, signed %v", got.PCR8, got.Signed)
	}
}

func TestMeasureIgnoresCRC(t *testing.T) {
	b := golden(t)
	b[544] ^= 1
	if _, err := open(t, b).Measure(); err != nil {
		t.Error(err)
	}
}
