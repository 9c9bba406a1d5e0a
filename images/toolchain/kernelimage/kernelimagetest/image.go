// Package kernelimagetest makes small kernel images for tests: an ELF that has
// what a reader looks for, and a bzImage around it. They do not run.
package kernelimagetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// A Kernel says what an ELF is to hold.
type Kernel struct {
	Release string   // in the banner; empty for no banner
	PVH     bool     // a note with a PVH entry point
	Strings []string // each with its terminating zero
	Config  string   // embedded as CONFIG_IKCONFIG does; empty for none
	Pad     int      // zero bytes at the end
}

// ELF gives a 64-bit x86 ELF of two segments, one of them notes.
func (k Kernel) ELF(t testing.TB) []byte {
	t.Helper()
	var body bytes.Buffer
	if k.Release != "" {
		body.WriteString("%s Linux version %s\x00")
		fmt.Fprintf(&body, "Linux version %s (test@example) #1 SMP\n\x00", k.Release)
	}
	for _, s := range k.Strings {
		body.WriteString(s + "\x00")
	}
	if k.Config != "" {
		body.WriteString("IKCFG_ST")
		body.Write(Pack(t, "gzip", []byte(k.Config)))
		body.WriteString("IKCFG_ED")
	}
	body.Write(make([]byte, k.Pad))

	var notes bytes.Buffer
	note(&notes, "Linux\x00", 0x101, []byte{1, 2, 3})
	if k.PVH {
		note(&notes, "Xen\x00", 18, make([]byte, 8))
	}
	const headers = 64 + 2*56
	var b bytes.Buffer
	le := binary.LittleEndian
	h := make([]byte, headers)
	copy(h, "\x7fELF\x02\x01\x01")
	le.PutUint16(h[16:], 2)  // executable
	le.PutUint16(h[18:], 62) // x86-64
	le.PutUint64(h[32:], 64) // program headers
	le.PutUint16(h[54:], 56)
	le.PutUint16(h[56:], 2)
	segment := func(h []byte, kind uint32, off, size int) {
		le.PutUint32(h, kind)
		le.PutUint64(h[8:], uint64(off))
		le.PutUint64(h[32:], uint64(size))
	}
	segment(h[64:], 1, headers, body.Len())
	segment(h[64+56:], 4, headers+body.Len(), notes.Len())
	b.Write(h)
	b.Write(body.Bytes())
	b.Write(notes.Bytes())
	return b.Bytes()
}

func note(b *bytes.Buffer, name string, kind uint32, desc []byte) {
	var h [12]byte
	binary.LittleEndian.PutUint32(h[:], uint32(len(name)))
	binary.LittleEndian.PutUint32(h[4:], uint32(len(desc)))
	binary.LittleEndian.PutUint32(h[8:], kind)
	b.Write(h[:])
	for _, part := range [][]byte{[]byte(name), desc} {
		b.Write(part)
		b.Write(make([]byte, (4-len(part)%4)%4))
	}
}

// BzImage gives a bzImage with the release in its header and payload as it is.
func BzImage(release string, payload []byte) []byte {
	const sectors = 4
	b := make([]byte, (sectors+1)*512, (sectors+1)*512+0x300+len(payload))
	le := binary.LittleEndian
	b[0x1f1] = sectors
	le.PutUint16(b[0x1fe:], 0xaa55)
	copy(b[0x202:], "HdrS")
	le.PutUint16(b[0x206:], 0x020f)
	if release != "" {
		le.PutUint16(b[0x20e:], 0x300)
		copy(b[0x500:], release+" (test@example) #1 SMP\x00")
	}
	le.PutUint32(b[0x248:], 0x300)
	le.PutUint32(b[0x24c:], uint32(len(payload)))
	b = append(b, make([]byte, 0x300)...)
	return append(b, payload...)
}

// Payload packs a kernel as the kernel's build does: with its size appended,
// but for gzip, which ends in it anyhow.
func Payload(t testing.TB, compression string, kernel []byte) []byte {
	t.Helper()
	p := Pack(t, compression, kernel)
	if compression == "gzip" || compression == "none" {
		return p
	}
	return binary.LittleEndian.AppendUint32(p, uint32(len(kernel)))
}

// Pack compresses b. bzip2 is not among what it can do.
func Pack(t testing.TB, compression string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("pack with %s: %v", compression, err)
		}
	}
	switch compression {
	case "none":
		return b
	case "gzip":
		z := gzip.NewWriter(&out)
		_, err := z.Write(b)
		check(err)
		check(z.Close())
	case "zstd":
		z, err := zstd.NewWriter(&out)
		check(err)
		_, err = z.Write(b)
		check(err)
		check(z.Close())
	case "lzma":
		z, err := lzma.WriterConfig{EOSMarker: true}.NewWriter(&out)
		check(err)
		_, err = z.Write(b)
		check(err)
		check(z.Close())
	case "xz":
		z, err := xz.WriterConfig{CheckSum: xz.CRC32}.NewWriter(&out)
		check(err)
		_, err = z.Write(b)
		check(err)
		check(z.Close())
	case "lz4":
		out.WriteString("\x02\x21\x4c\x18")
		for len(b) > 0 {
			n := min(len(b), 8<<20)
			block := make([]byte, lz4.CompressBlockBound(n))
			m, err := lz4.CompressBlock(b[:n], block, nil)
			check(err)
			out.Write(binary.LittleEndian.AppendUint32(nil, uint32(m)))
			out.Write(block[:m])
			b = b[n:]
		}
	default:
		t.Fatalf("pack with %s: not known", compression)
	}
	return out.Bytes()
}
