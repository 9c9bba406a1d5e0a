package initramfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/u-root/u-root/pkg/cpio"
)

// sample has one file of each type, in no order, without parents.
func sample() []cpio.Record {
	return []cpio.Record{
		cpio.StaticFile("/rootfs/bin/app", "program", 0o755),
		cpio.Symlink("rootfs/bin/link", "app"),
		cpio.CharDev("dev/console", 0o600, 5, 1),
		{Info: cpio.Info{Name: "dev/sda", Mode: cpio.S_IFBLK | 0o660, Rmajor: 8, Rminor: 0}},
		{Info: cpio.Info{Name: "run/pipe", Mode: cpio.S_IFIFO | 0o600}},
		cpio.Directory("tmp", 0o1777),
		cpio.StaticFile("empty", "", 0o644),
		cpio.StaticFile("a-b", "12345", 0o4755),
	}
}

func bytesOf(t testing.TB, files []cpio.Record) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, files); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// entry is what a reader that is not ours finds.
type entry struct {
	Name    string
	Mode    string // octal
	Content string
	Dev     string
}

func read(t testing.TB, archive []byte) []entry {
	t.Helper()
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(archive)))
	if err != nil {
		t.Fatal(err)
	}
	var entries []entry
	for _, r := range records {
		content, err := io.ReadAll(io.NewSectionReader(r.ReaderAt, 0, int64(r.FileSize)))
		if err != nil {
			t.Fatal(err)
		}
		e := entry{Name: r.Name, Mode: fmt.Sprintf("%o", r.Mode), Content: string(content)}
		if r.Rmajor != 0 {
			e.Dev = fmt.Sprintf("%d:%d", r.Rmajor, r.Rminor)
		}
		entries = append(entries, e)
	}
	return entries
}

func TestWrite(t *testing.T) {
	want := []entry{
		{Name: "a-b", Mode: "104755", Content: "12345"},
		{Name: "dev", Mode: "40755"},
		{Name: "dev/console", Mode: "20600", Dev: "5:1"},
		{Name: "dev/sda", Mode: "60660", Dev: "8:0"},
		{Name: "empty", Mode: "100644"},
		{Name: "rootfs", Mode: "40755"},
		{Name: "rootfs/bin", Mode: "40755"},
		{Name: "rootfs/bin/app", Mode: "100755", Content: "program"},
		{Name: "rootfs/bin/link", Mode: "120777", Content: "app"},
		{Name: "run", Mode: "40755"},
		{Name: "run/pipe", Mode: "10600"},
		{Name: "tmp", Mode: "41777"},
	}
	if diff := cmp.Diff(want, read(t, bytesOf(t, sample()))); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

// u-root's writer must make the same bytes of the same records.
func TestWriteAsURoot(t *testing.T) {
	a, err := New(sample())
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	w := cpio.Newc.Writer(&want)
	if err := cpio.WriteRecords(w, a.Records()); err != nil {
		t.Fatal(err)
	}
	if err := cpio.WriteTrailer(w); err != nil {
		t.Fatal(err)
	}
	if got := bytesOf(t, sample()); !bytes.Equal(got, want.Bytes()) {
		t.Errorf("archive of %d bytes differs from u-root's of %d", len(got), want.Len())
	}
}

func TestDeterministic(t *testing.T) {
	want := bytesOf(t, sample())
	for i := range 20 {
		files := sample()
		rand.New(rand.NewPCG(uint64(i), 0)).Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		for j := range files {
			// Where the files come from must not show.
			files[j].Ino, files[j].UID, files[j].GID = rand.Uint64(), 1000, 1000
			files[j].MTime, files[j].NLink, files[j].Dev = rand.Uint64(), 9, 7
			files[j].Major, files[j].Minor = 3, 4
		}
		if got := bytesOf(t, files); !bytes.Equal(got, want) {
			t.Fatalf("order %d gives another archive", i)
		}
	}
}

func TestReadAt(t *testing.T) {
	a, err := New(sample())
	if err != nil {
		t.Fatal(err)
	}
	want := bytesOf(t, sample())
	if a.Size() != int64(len(want)) || a.Size()%4 != 0 {
		t.Errorf("Size = %d, the archive has %d bytes", a.Size(), len(want))
	}
	if err := iotest.TestReader(a.Section(), want); err != nil {
		t.Error(err)
	}
	// Every piece of every length, which crosses every kind of boundary.
	for off := range len(want) + 2 {
		for n := 1; n < 40; n++ {
			p := make([]byte, n)
			m, err := a.ReadAt(p, int64(off))
			end := min(off+n, len(want))
			wantErr := error(nil)
			if off+n > len(want) {
				wantErr = io.EOF
			}
			if !bytes.Equal(p[:m], want[min(off, end):end]) || err != wantErr {
				t.Fatalf("ReadAt(%d bytes, %d) = %d, %v", n, off, m, err)
			}
		}
	}
	if _, err := a.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("negative offset: no error")
	}
}

func TestNewErrors(t *testing.T) {
	file := func(name string) cpio.Record { return cpio.StaticFile(name, "x", 0o644) }
	tests := []struct {
		name  string
		files []cpio.Record
		want  string
	}{
		{"no name", []cpio.Record{file("")}, "not a path below the root"},
		{"the root", []cpio.Record{file("/")}, "not a path below the root"},
		{"above the root", []cpio.Record{file("a/../../b")}, "not a path below the root"},
		{"the trailer", []cpio.Record{file("TRAILER!!!")}, "ends a cpio archive"},
		{"zero byte", []cpio.Record{file("a\x00b")}, "zero byte"},
		{"long name", []cpio.Record{file(strings.Repeat("x", 4096))}, "name of 4096 bytes"},
		{"twice", []cpio.Record{file("a"), file("/a")}, "two files have this name"},
		{"twice, as directory", []cpio.Record{cpio.Directory("a", 0o755), cpio.Directory("./a", 0o755)}, "two files"},
		{"below a file", []cpio.Record{file("a"), file("a/b/c")}, "no directory"},
		{"below a link", []cpio.Record{cpio.Symlink("a", "/etc"), file("a/passwd")}, "no directory"},
		{"socket", []cpio.Record{{Info: cpio.Info{Name: "s", Mode: cpio.S_IFSOCK}}}, "no type of file"},
		{"no type", []cpio.Record{{Info: cpio.Info{Name: "s", Mode: 0o644}}}, "no type of file"},
		{"empty link", []cpio.Record{cpio.Symlink("a", "")}, "link target"},
		{"long link", []cpio.Record{cpio.Symlink("a", strings.Repeat("x", 4096))}, "link target"},
		{"4 GiB", []cpio.Record{{ReaderAt: bytes.NewReader(nil), Info: cpio.Info{Name: "a", Mode: cpio.S_IFREG, FileSize: math.MaxUint32 + 1}}}, "below 4 GiB"},
		{"no content", []cpio.Record{{Info: cpio.Info{Name: "a", Mode: cpio.S_IFREG, FileSize: 1}}}, "no content"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.files)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// brokenContent ends early, or fails.
type brokenContent struct{ err error }

func (b brokenContent) ReadAt(p []byte, off int64) (int, error) { return copy(p, "abc"), b.err }

func TestContentErrors(t *testing.T) {
	boom := errors.New("boom")
	for _, tt := range []struct{ give, want error }{{io.EOF, io.ErrUnexpectedEOF}, {boom, boom}, {nil, io.ErrUnexpectedEOF}} {
		files := []cpio.Record{{ReaderAt: brokenContent{tt.give}, Info: cpio.Info{Name: "dir/f", Mode: cpio.S_IFREG, FileSize: 10}}}
		err := Write(io.Discard, files)
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), "dir/f") {
			t.Errorf("content fails with %v: error %v, want %v and the name", tt.give, err, tt.want)
		}
	}
}

// Content as large as the format allows is neither held nor copied to be laid
// out, and its last bytes can be read at once.
func TestLargeContentStreams(t *testing.T) {
	const size = math.MaxUint32
	a, err := New([]cpio.Record{{ReaderAt: zeros{}, Info: cpio.Info{Name: "big", Mode: cpio.S_IFREG | 0o644, FileSize: size}}})
	if err != nil {
		t.Fatal(err)
	}
	tail := make([]byte, 200)
	n, err := a.ReadAt(tail, a.Size()-int64(len(tail)))
	if n != len(tail) || err != nil {
		t.Fatalf("ReadAt = %d, %v", n, err)
	}
	if !bytes.Contains(tail, []byte(cpio.Trailer)) {
		t.Errorf("no trailer in %q", tail)
	}
}

type zeros struct{}

func (zeros) ReadAt(p []byte, off int64) (int, error) { clear(p); return len(p), nil }

// FuzzNew lays out files with any names. What is accepted must be read by
// another reader with every parent before its child.
func FuzzNew(f *testing.F) {
	f.Add("init\ndev/console\nrootfs/bin/app")
	f.Add("a\na/b")
	f.Add("../x\nTRAILER!!!\n/\na//b/./c")
	f.Fuzz(func(t *testing.T, names string) {
		var files []cpio.Record
		for i, name := range strings.Split(names, "\n") {
			files = append(files, cpio.StaticFile(name, strings.Repeat("x", i%7), 0o644))
		}
		a, err := New(files)
		if err != nil {
			return
		}
		seen := []string{}
		for _, e := range read(t, bytesOf(t, files)) {
			if i := strings.LastIndex(e.Name, "/"); i >= 0 && !slices.Contains(seen, e.Name[:i]) {
				t.Fatalf("%q comes before its parent", e.Name)
			}
			seen = append(seen, e.Name)
		}
		if len(seen) != len(a.Records()) || len(seen) < len(files) {
			t.Fatalf("%d files, %d records, %d read", len(files), len(a.Records()), len(seen))
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	var files []cpio.Record
	for i := range 2000 {
		files = append(files, cpio.StaticFile(fmt.Sprintf("d%d/f%d", i%50, i), strings.Repeat("x", 4000), 0o644))
	}
	a, err := New(files)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(a.Size())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.Copy(io.Discard, a.Section()); err != nil {
			b.Fatal(err)
		}
	}
}
