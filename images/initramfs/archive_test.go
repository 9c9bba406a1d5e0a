package initramfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/initramfs"
	"github.com/nitrolab/nitrolab/images/initramfs/initramfstest"
)

// sample has one file of each type, in no order, without parents.
func sample() []cpio.Record {
	return []cpio.Record{
		cpio.StaticFile("/rootfs/bin/app", "program", 0o755),
		cpio.Symlink("rootfs/bin/link", "app"),
		cpio.CharDev("dev/console", 0o600, 5, 1),
		{Info: cpio.Info{Name: "dev/sda", Mode: cpio.S_IFBLK | 0o660, Rmajor: 8, Rminor: 0}},
		{Info: cpio.Info{Name: "run/pipe", Mode: cpio.S_IFIFO | 0o600}},
		{Info: cpio.Info{Name: "run/socket", Mode: cpio.S_IFSOCK | 0o755}},
		cpio.Directory("tmp", 0o1777),
		cpio.StaticFile("empty", "", 0o644),
		cpio.StaticRecord([]byte("12345"), cpio.Info{Name: "a-b", Mode: cpio.S_IFREG | 0o4755, UID: 5, GID: 6}),
		cpio.StaticFile("./a//b/", "in a", 0o644),
	}
}

// linked is a file with three names, the content at the last one given, and a
// device and an empty file with two.
func linked() []cpio.Record {
	link := func(name string, content string, mode, ino, n uint64) cpio.Record {
		return cpio.StaticRecord([]byte(content), cpio.Info{Name: name, Mode: mode, Ino: ino, NLink: n, Major: 8, Minor: 1})
	}
	return []cpio.Record{
		link("bin/b", "", cpio.S_IFREG|0o755, 77, 3),
		link("zz", "", cpio.S_IFREG|0o755, 77, 3),
		link("bin/c", "tool", cpio.S_IFREG|0o755, 77, 3),
		link("alone", "1", cpio.S_IFREG|0o644, 78, 2), // its other name stays out
		link("e1", "", cpio.S_IFREG|0o644, 79, 2),
		link("e2", "", cpio.S_IFREG|0o644, 79, 2),
		link("p1", "", cpio.S_IFIFO|0o644, 80, 2),
		link("p2", "", cpio.S_IFIFO|0o644, 80, 2),
		link("other", "disk", cpio.S_IFREG|0o644, 0, 2), // no inode number, no link
	}
}

func bytesOf(t testing.TB, files []cpio.Record) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := initramfs.Write(&b, files); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func mustNew(t testing.TB, files []cpio.Record) *initramfs.Archive {
	t.Helper()
	a, err := initramfs.New(files)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestNew(t *testing.T) {
	tests := []struct {
		name  string
		files []cpio.Record
		want  []string
	}{
		{name: "no files", files: nil, want: nil},
		{name: "every type", files: sample(), want: []string{
			"40755 0:0 n2 i1 a",
			"104755 5:6 n1 i2 a-b = 12345",
			"100644 0:0 n1 i3 a/b = in a",
			"40755 0:0 n2 i4 dev",
			"20600 0:0 n1 i5 dev/console dev 5,1",
			"60660 0:0 n1 i6 dev/sda dev 8,0",
			"100644 0:0 n1 i7 empty",
			"40755 0:0 n2 i8 rootfs",
			"40755 0:0 n2 i9 rootfs/bin",
			"100755 0:0 n1 i10 rootfs/bin/app = program",
			"120777 0:0 n1 i11 rootfs/bin/link = app",
			"40755 0:0 n2 i12 run",
			"10600 0:0 n1 i13 run/pipe",
			"140755 0:0 n1 i14 run/socket",
			"41777 0:0 n2 i15 tmp",
		}},
		{name: "hard links", files: linked(), want: []string{
			"100644 0:0 n1 i1 alone = 1",
			"40755 0:0 n2 i2 bin",
			"100755 0:0 n3 i3 bin/b = tool",
			"100755 0:0 n3 i3 bin/c",
			"100644 0:0 n2 i4 e1",
			"100644 0:0 n2 i4 e2",
			"100644 0:0 n1 i5 other = disk",
			"10644 0:0 n2 i6 p1",
			"10644 0:0 n2 i6 p2",
			"100755 0:0 n3 i3 zz",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := mustNew(t, tt.files)
			if diff := cmp.Diff(tt.want, initramfstest.Lines(t, a)); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			// u-root's own reader agrees on what is in it.
			records, err := cpio.ReadAllRecords(cpio.Newc.Reader(a))
			if err != nil {
				t.Fatal(err)
			}
			if len(records) != len(tt.want) || len(records) != len(a.Records()) {
				t.Errorf("u-root reads %d records, there are %d", len(records), len(a.Records()))
			}
			for i, r := range records {
				if !cpio.Equal(r, a.Records()[i]) {
					t.Errorf("u-root reads %v, want %v", r.Info, a.Records()[i].Info)
				}
			}
		})
	}
}

// u-root's writer must make the same bytes of the same records.
func TestWriteAsURoot(t *testing.T) {
	files := append(sample(), linked()...)
	var want bytes.Buffer
	w := cpio.Newc.Writer(&want)
	if err := cpio.WriteRecords(w, mustNew(t, files).Records()); err != nil {
		t.Fatal(err)
	}
	if err := cpio.WriteTrailer(w); err != nil {
		t.Fatal(err)
	}
	if got := bytesOf(t, files); !bytes.Equal(got, want.Bytes()) {
		t.Errorf("archive of %d bytes differs from u-root's of %d", len(got), want.Len())
	}
}

func TestDeterministic(t *testing.T) {
	all := func() []cpio.Record { return append(sample(), linked()...) }
	want := bytesOf(t, all())
	for i := range 20 {
		files := all()
		shift := rand.Uint64N(1 << 30)
		for j := range files {
			// Where the files come from must not show.
			f := &files[j]
			f.MTime, f.Dev, f.Major, f.Minor = rand.Uint64(), 7, 3, 4
			if f.Ino != 0 {
				f.Ino += shift
			} else if f.FileSize > 0 {
				f.Ino, f.NLink = 1<<40+uint64(j), 9
			}
		}
		rand.New(rand.NewPCG(uint64(i), 0)).Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		if got := bytesOf(t, files); !bytes.Equal(got, want) {
			t.Fatalf("order %d gives another archive", i)
		}
	}
}

func TestReadAt(t *testing.T) {
	a := mustNew(t, sample())
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
	record := func(i cpio.Info) cpio.Record {
		i.Name = "a"
		return cpio.Record{ReaderAt: strings.NewReader("four"), Info: i}
	}
	link := func(name, content string, mode uint64) cpio.Record {
		return cpio.StaticRecord([]byte(content), cpio.Info{Name: name, Mode: mode, Ino: 7, NLink: 3})
	}
	long := strings.Repeat("a", 255)
	tests := []struct {
		name  string
		files []cpio.Record
		want  string // "" for accepted
	}{
		{"no name", []cpio.Record{file("")}, "not below the root"},
		{"the root", []cpio.Record{file("/")}, "not below the root"},
		{"above the root", []cpio.Record{file("../b")}, `name has a ".."`},
		{"dot dot inside", []cpio.Record{file("a/../b")}, `name has a ".."`},
		{"the trailer", []cpio.Record{file("TRAILER!!!")}, "end mark of a cpio archive"},
		{"zero byte", []cpio.Record{file("a\x00b")}, "name has a NUL"},
		{"longest component", []cpio.Record{file(long)}, ""},
		{"long component", []cpio.Record{file(long + "a")}, "component of 256 bytes"},
		{"longest name", []cpio.Record{file(strings.Repeat(long+"/", 15) + long)}, ""},
		{"long name", []cpio.Record{file(strings.Repeat(long+"/", 16) + "a")}, "path has 4097 bytes"},
		{"twice", []cpio.Record{file("a"), file("/a")}, "two files have this name"},
		{"twice, as directory", []cpio.Record{cpio.Directory("a", 0o755), cpio.Directory("./a", 0o755)}, "two files"},
		{"below a file", []cpio.Record{file("a"), file("a/b/c")}, "no directory"},
		{"below a file, others between", []cpio.Record{file("a"), file("a-b"), file("a/b")}, "no directory"},
		{"below a link", []cpio.Record{cpio.Symlink("a", "/etc"), file("a/passwd")}, "no directory"},

		{"no type", []cpio.Record{record(cpio.Info{Mode: 0o644})}, "file type is 0"},
		{"mode beyond 16 bits", []cpio.Record{record(cpio.Info{Mode: 1<<20 | cpio.S_IFIFO})}, "more than type and permissions"},
		{"owner", []cpio.Record{record(cpio.Info{Mode: cpio.S_IFIFO, UID: 1 << 32})}, "owner is 4294967296"},
		{"device", []cpio.Record{record(cpio.Info{Mode: cpio.S_IFCHR, Rminor: 1 << 32})}, "minor device number is 4294967296"},
		{"empty link", []cpio.Record{cpio.Symlink("a", "")}, "has 0 bytes"},
		{"longest link", []cpio.Record{cpio.Symlink("a", strings.Repeat("x", 4095))}, ""},
		{"long link", []cpio.Record{cpio.Symlink("a", strings.Repeat("x", 4096))}, "has 4096 bytes"},
		{"zero byte in a link", []cpio.Record{cpio.Symlink("a", "b\x00")}, "target of the symbolic link has a NUL"},
		{"link without content", []cpio.Record{{Info: cpio.Info{Name: "a", Mode: cpio.S_IFLNK, FileSize: 1}}}, "has no content"},
		{"link with too little", []cpio.Record{record(cpio.Info{Mode: cpio.S_IFLNK, FileSize: 5})}, "unexpected EOF"},
		{"4 GiB", []cpio.Record{{ReaderAt: zeros{}, Info: cpio.Info{Name: "a", Mode: cpio.S_IFREG, FileSize: math.MaxUint32 + 1}}}, "allows at most 4294967295"},
		{"no content", []cpio.Record{{Info: cpio.Info{Name: "a", Mode: cpio.S_IFREG, FileSize: 1}}}, "no content"},
		{"too little content", []cpio.Record{record(cpio.Info{Mode: cpio.S_IFREG, FileSize: 5})}, "content has 4 bytes, the size of the file is 5"},
		{"too much content", []cpio.Record{record(cpio.Info{Mode: cpio.S_IFREG, FileSize: 3})}, "content has 4 bytes, the size of the file is 3"},

		{"linked, both with content", []cpio.Record{link("a", "1", cpio.S_IFREG), link("b", "1", cpio.S_IFREG)}, `"a" and "b" are one file and both have content`},
		{"linked, other mode", []cpio.Record{link("a", "", cpio.S_IFREG), link("b", "1", cpio.S_IFREG|1)}, "have different mode"},
		{"linked, other type", []cpio.Record{link("a", "", cpio.S_IFREG), link("b", "", cpio.S_IFIFO)}, "have different mode"},
		{"linked, content missing", []cpio.Record{link("a", "", cpio.S_IFREG), link("b", "", cpio.S_IFREG)}, "hard link without content"},
		{"links that no file has", []cpio.Record{link("a", "x", cpio.S_IFLNK), link("b", "x", cpio.S_IFLNK)}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := initramfs.New(tt.files)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 500 {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// brokenContent ends early, or fails.
type brokenContent struct{ err error }

func (b brokenContent) ReadAt(p []byte, off int64) (int, error) { return copy(p, "abc"), b.err }

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestContentErrors(t *testing.T) {
	boom := errors.New("boom")
	for _, tt := range []struct{ give, want error }{{io.EOF, io.ErrUnexpectedEOF}, {boom, boom}, {nil, io.ErrUnexpectedEOF}} {
		files := []cpio.Record{{ReaderAt: brokenContent{tt.give}, Info: cpio.Info{Name: "dir/f", Mode: cpio.S_IFREG, FileSize: 10}}}
		err := initramfs.Write(io.Discard, files)
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), "dir/f") {
			t.Errorf("content fails with %v: error %v, want %v and the name", tt.give, err, tt.want)
		}
	}
	if err := initramfs.Write(failing{boom}, sample()); !errors.Is(err, boom) {
		t.Errorf("error %v, want %v", err, boom)
	}
}

// zeros is content without end that is nowhere.
type zeros struct{}

func (zeros) ReadAt(p []byte, off int64) (int, error) { clear(p); return len(p), nil }

func bigFile(size uint64) []cpio.Record {
	return []cpio.Record{{ReaderAt: zeros{}, Info: cpio.Info{Name: "big", Mode: cpio.S_IFREG | 0o644, FileSize: size}}}
}

// Content as large as the format allows is neither held nor copied to be laid
// out, and its last bytes can be read at once.
func TestLargeContent(t *testing.T) {
	a := mustNew(t, bigFile(initramfs.MaxFile))
	tail := make([]byte, 200)
	n, err := a.ReadAt(tail, a.Size()-int64(len(tail)))
	if n != len(tail) || err != nil {
		t.Fatalf("ReadAt = %d, %v", n, err)
	}
	if !bytes.Contains(tail, []byte(cpio.Trailer)) {
		t.Errorf("no trailer in %q", tail)
	}
}

// A file of 1 GiB is written in constant memory.
func TestWriteStreams(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := initramfs.Write(io.Discard, bigFile(1<<30)); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("allocated %d bytes", n)
	}
}

// GNU cpio, where there is one, unpacks what was put in.
func TestGNUCpio(t *testing.T) {
	tool, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("no cpio command")
	}
	files := append(linked(),
		cpio.StaticFile("bin/app", "program", 0o751),
		cpio.Symlink("etc", "/etc"),
		cpio.Directory("bin", 0o750),
	)
	dir := t.TempDir()
	cmd := exec.Command(tool, "-i", "-m", "--no-absolute-filenames", "--quiet")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(bytesOf(t, files))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("cpio: %v\n%s", err, out)
	}
	for name, want := range map[string]string{"bin/app": "program", "bin/b": "tool", "bin/c": "tool", "zz": "tool", "e2": ""} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s = %q, %v, want %q", name, got, err, want)
		}
	}
	stat := func(name string) os.FileInfo {
		t.Helper()
		fi, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return fi
	}
	if !os.SameFile(stat("bin/b"), stat("zz")) || os.SameFile(stat("bin/b"), stat("bin/app")) {
		t.Error("hard links are not names of one file")
	}
	if got := stat("bin/app").Mode().Perm()<<12 | stat("bin").Mode().Perm(); got != 0o751<<12|0o750 {
		t.Errorf("modes %o", got)
	}
	if target, err := os.Readlink(filepath.Join(dir, "etc")); err != nil || target != "/etc" {
		t.Errorf("etc -> %q, %v", target, err)
	}
}

// FuzzNew lays out files with any names, some of them hard links. What is accepted
// must be read by another reader with every parent before its child.
func FuzzNew(f *testing.F) {
	f.Add("init\ndev/console\nrootfs/bin/app")
	f.Add("a\na/b")
	f.Add("../x\nTRAILER!!!\n/\na//b/./c")
	f.Add("a/=b\nc\n=d/e")
	f.Fuzz(func(t *testing.T, names string) {
		var files []cpio.Record
		content := "linked"
		for i, name := range strings.Split(names, "\n") {
			r := cpio.StaticFile(name, strings.Repeat("x", i%7), 0o644)
			if strings.Contains(name, "=") {
				r = cpio.StaticRecord([]byte(content), cpio.Info{Name: name, Mode: cpio.S_IFREG | 0o644, Ino: 9, NLink: 2})
				content = ""
			}
			files = append(files, r)
		}
		a, err := initramfs.New(files)
		if err != nil {
			return
		}
		seen := []string{}
		for _, e := range initramfstest.Read(t, a) {
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
	a := mustNew(b, files)
	b.SetBytes(a.Size())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.Copy(io.Discard, a.Section()); err != nil {
			b.Fatal(err)
		}
	}
}
