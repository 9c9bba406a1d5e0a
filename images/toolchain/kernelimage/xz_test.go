package kernelimage

import (
	"bytes"
	_ "embed"
	"errors"
	"testing"
)

// branchyXZ is branchy() through xz --check=crc32 --x86 --lzma2=dict=1MiB.
//
//go:embed testdata/branchy.xz
var branchyXZ []byte

// branchy gives 48 KiB that look like code to the x86 filter: first nothing but
// bytes that it has to decide about, which makes every case of it occur, then
// calls and jumps.
func branchy() []byte {
	x := uint32(1)
	next := func() uint32 {
		x = (x*1103515245 + 12345) & 0x7fffffff
		return x >> 16
	}
	var out []byte
	awkward := []byte{0xe8, 0xe9, 0x00, 0xff, 0x01, 0xfe, 0x7f, 0x80}
	for len(out) < 24<<10 {
		out = append(out, awkward[next()&7])
	}
	for len(out) < 48<<10 {
		out = append(out, 0x48, 0x89, byte(next()))
		if op := next() & 1; op == 1 {
			out = append(out, 0xe8)
		} else {
			out = append(out, 0xe9)
		}
		target := next()<<4 - 1<<18
		out = append(out, byte(target), byte(target>>8), byte(target>>16), byte(target>>24))
	}
	return out
}

func TestUnpackXZ(t *testing.T) {
	want := branchy()
	got, err := unpackXZ(bytes.NewReader(branchyXZ), int64(len(want)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		t.Fatalf("differs at byte %d, has %d bytes of %d", i, len(got), len(want))
	}
}

// TestUnpackXZDamaged flips every bit of headers and check, and some others:
// each must be noticed, by the check at last.
func TestUnpackXZDamaged(t *testing.T) {
	n := int64(48 << 10)
	for i := range branchyXZ[:len(branchyXZ)-24] { // after it come index and footer, not read
		if i > 64 && i < len(branchyXZ)-64 && i%97 != 0 {
			continue
		}
		if i == 27 || i == 28 {
			continue // packed size of the only chunk, which the decoder finds out by itself
		}
		b := bytes.Clone(branchyXZ)
		b[i] ^= 0x10
		if got, err := unpackXZ(bytes.NewReader(b), n); err == nil && int64(len(got)) == n {
			t.Errorf("damage at byte %d of %d is not noticed", i, len(b))
		}
		if _, err := unpackXZ(bytes.NewReader(branchyXZ[:i]), n); !errors.Is(err, ErrFormat) {
			t.Errorf("cut off at byte %d: error %v, want ErrFormat", i, err)
		}
	}
}

func BenchmarkUnfilterX86(b *testing.B) {
	data := branchy()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		unfilterX86(data)
	}
}
