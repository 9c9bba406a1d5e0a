package xz

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
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

// pack packs content with the library's writer: CRC64, LZMA2 alone.
func pack(t testing.TB, content []byte, c xz.WriterConfig) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := c.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnpack(t *testing.T) {
	want := branchy()
	got, err := Unpack(branchyXZ, int64(len(want)))
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

// TestUnpackDamaged flips every bit of headers and check, and some others: each
// must be noticed, by the check at last.
func TestUnpackDamaged(t *testing.T) {
	n := int64(48 << 10)
	for i := range branchyXZ[:len(branchyXZ)-24] { // after it come index and footer, not read
		if i > 64 && i < len(branchyXZ)-64 && i%397 != 0 {
			continue
		}
		if _, err := Unpack(branchyXZ[:i], n); !errors.Is(err, ErrFormat) {
			t.Errorf("cut off at byte %d: error %v, want ErrFormat", i, err)
		}
		if i == 27 || i == 28 {
			continue // packed size of the only chunk, which the decoder finds out by itself
		}
		b := bytes.Clone(branchyXZ)
		b[i] ^= 0x10
		if _, err := Unpack(b, n); !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTooLong) {
			t.Errorf("damage at byte %d of %d: error %v", i, len(b), err)
		}
	}
}

func TestUnpackErrors(t *testing.T) {
	good := pack(t, []byte("content"), xz.WriterConfig{})
	change := func(i int) []byte { b := bytes.Clone(good); b[i] ^= 0x40; return b }
	check := func(typ byte) []byte { // the stream header names another check
		b := bytes.Clone(good)
		b[7] = typ
		binary.LittleEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[6:8]))
		return b
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want string
	}{
		{"empty", nil, "stream header"},
		{"magic", change(0), "stream header"},
		{"stream flags", change(7), "stream header"},
		{"check unknown", check(10), "check of type 0xa"},
		{"another check", check(checkCRC32), "xz check"},
		{"block header", change(13), "block header"},
		{"block header checksum", change(12 + (int(good[12])+1)*4 - 1), "block header"},
		{"data", change(12 + (int(good[12])+1)*4 + 4), "xz "},
		{"no block", append(bytes.Clone(good[:12]), make([]byte, 64)...), "missing"},
		{"second block", pack(t, make([]byte, 3000), xz.WriterConfig{BlockSize: 2000}), "another block follows"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Unpack(tt.in, 1<<20)
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q, error %v, want ErrFormat with %q", got, err, tt.want)
			}
		})
	}
	for n := range len(good) - 24 { // footer and index are not read
		if _, err := Unpack(good[:n], 1<<20); !errors.Is(err, ErrFormat) {
			t.Errorf("cut to %d bytes: error %v, want ErrFormat", n, err)
		}
	}
}

func TestUnpackLimit(t *testing.T) {
	const limit = 1 << 18
	got, err := Unpack(pack(t, make([]byte, limit), xz.WriterConfig{}), limit)
	if err != nil || len(got) != limit {
		t.Errorf("largest: %d bytes, %v", len(got), err)
	}
	if _, err := Unpack(pack(t, make([]byte, limit+1), xz.WriterConfig{}), limit); !errors.Is(err, ErrTooLong) {
		t.Errorf("one byte more: error %v, want ErrTooLong", err)
	}
}

// A file of some bytes that asks for a dictionary of 4 GiB does not get it.
func TestUnpackHostileDictionary(t *testing.T) {
	file := pack(t, []byte("content"), xz.WriterConfig{})
	// Block header at 12: size, flags, filter id 0x21, size 1, dictionary; CRC.
	header := file[12 : 12+(int(file[12])+1)*4]
	i := bytes.Index(header, []byte{filterLZMA2, 1})
	header[i+2] = 40
	binary.LittleEndian.PutUint32(header[len(header)-4:], crc32.ChecksumIEEE(header[:len(header)-4]))

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := Unpack(file, 1<<20)
	runtime.ReadMemStats(&after)
	if err != nil || string(got) != "content" {
		t.Fatalf("Unpack = %q, %v", got, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("%d MiB allocated", n>>20)
	}
}

// The tool that the kernel's build calls, where there is one.
func TestUnpackOfTool(t *testing.T) {
	tool, err := exec.LookPath("xz")
	if err != nil {
		t.Skip("no xz command")
	}
	content := append([]byte(strings.Repeat("a module ", 10000)), branchy()...)
	for _, args := range [][]string{{"--check=crc32", "--lzma2=dict=1MiB"}, {"--check=crc64"}, {"--check=none"}, {"--check=crc32", "--x86", "--lzma2=dict=128MiB"}} {
		cmd := exec.Command(tool, append(args, "-c")...)
		cmd.Stdin = bytes.NewReader(content)
		packed, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Unpack(packed, 1<<20)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("xz %v: %d bytes, %v", args, len(got), err)
		}
	}
}

// FuzzUnpack unpacks anything, within the limit.
func FuzzUnpack(f *testing.F) {
	b := pack(f, []byte(strings.Repeat("content ", 100)), xz.WriterConfig{})
	f.Add(b)
	f.Add(b[:20])
	f.Add(branchyXZ[:4096])
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1 << 16
		out, err := Unpack(in, limit)
		if err == nil && len(out) > limit {
			t.Fatalf("%d bytes", len(out))
		}
		if err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTooLong) {
			t.Fatalf("error %v", err)
		}
	})
}

func BenchmarkUnfilterX86(b *testing.B) {
	data := branchy()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		unfilterX86(data)
	}
}
