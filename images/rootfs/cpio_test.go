package rootfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/images/rootfs"
)

// A record is one record of an archive as text: mode, owner, links, inode and
// name, then what there is of device number, target and content.
func records(t testing.TB, b []byte) []string {
	t.Helper()
	var out []string
	for off := 0; ; {
		if off%4 != 0 || len(b)-off < 110 || string(b[off:off+6]) != "070701" {
			t.Fatalf("no record at %d", off)
		}
		var f [13]int
		for i := range f {
			v, err := strconv.ParseUint(string(b[off+6+8*i:off+14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			f[i] = int(v)
		}
		ino, mode, uid, gid, nlink, mtime, size := f[0], f[1], f[2], f[3], f[4], f[5], f[6]
		if mtime != 0 || f[7] != 0 || f[8] != 0 || f[12] != 0 {
			t.Errorf("record at %d: time, device or checksum is not 0", off)
		}
		name := string(b[off+110 : off+110+f[11]-1])
		if b[off+110+f[11]-1] != 0 {
			t.Errorf("record at %d: name has no NUL", off)
		}
		body := (off + 110 + f[11] + 3) &^ 3
		content := string(b[body : body+size])
		off = (body + size + 3) &^ 3
		if name == "TRAILER!!!" {
			if rest := b[off:]; len(b)%512 != 0 || len(rest) >= 512 || len(bytes.Trim(rest, "\x00")) != 0 {
				t.Errorf("archive of %d bytes, %d behind the trailer", len(b), len(rest))
			}
			return out
		}
		s := fmt.Sprintf("%o %d:%d n%d i%d %s", mode, uid, gid, nlink, ino, name)
		if f[9] != 0 || f[10] != 0 {
			s += fmt.Sprintf(" dev %d,%d", f[9], f[10])
		}
		if size > 0 {
			s += " = " + content
		}
		out = append(out, s)
	}
}

func archive(t testing.TB, prefix string, trees ...*rootfs.Tree) []byte {
	t.Helper()
	var b bytes.Buffer
	a := rootfs.NewArchive(&b)
	for _, tree := range trees {
		if err := a.AddTree(context.Background(), prefix, tree); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(path, content string) rootfs.Entry {
	return rootfs.Entry{Path: path, Mode: unix.S_IFREG | 0o644, Size: int64(len(content)), Content: rootfs.Bytes(content)}
}

func dir(path string) rootfs.Entry { return rootfs.Entry{Path: path, Mode: unix.S_IFDIR | 0o755} }

func symlink(path, target string) rootfs.Entry {
	return rootfs.Entry{Path: path, Mode: unix.S_IFLNK | 0o777, Target: target}
}

func newTree(t testing.TB, entries ...rootfs.Entry) *rootfs.Tree {
	t.Helper()
	tree := rootfs.New(rootfs.Limits{})
	for _, e := range entries {
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func TestArchive(t *testing.T) {
	tree := newTree(t,
		file("usr/bin/tool", "tool"),
		rootfs.Entry{Path: "/", Mode: unix.S_IFDIR | 0o700, UID: 5, GID: 6},
		rootfs.Entry{Path: "./bin/su", Mode: unix.S_IFREG | 0o4755, UID: 0, GID: 1, Size: 1, Content: rootfs.Bytes("s")},
		symlink("lib", "usr/lib"),
		rootfs.Entry{Path: "dev/null", Mode: unix.S_IFCHR | 0o666, Major: 1, Minor: 3},
		rootfs.Entry{Path: "dev/sda", Mode: unix.S_IFBLK | 0o660, Major: 8, Minor: 0},
		rootfs.Entry{Path: "pipe", Mode: unix.S_IFIFO | 0o600},
		rootfs.Entry{Path: "tmp", Mode: unix.S_IFDIR | 0o1777},
		file("a-b", ""),
		file("a/c", "odd"),
	)
	for _, name := range []string{"usr/bin/alias", "zz"} {
		if err := tree.Link(name, "/usr/bin/tool"); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"40700 5:6 n1 i1 rootfs",
		"40755 0:0 n1 i2 rootfs/a",
		"100644 0:0 n1 i3 rootfs/a/c = odd",
		"100644 0:0 n1 i4 rootfs/a-b",
		"40755 0:0 n1 i5 rootfs/bin",
		"104755 0:1 n1 i6 rootfs/bin/su = s",
		"40755 0:0 n1 i7 rootfs/dev",
		"20666 0:0 n1 i8 rootfs/dev/null dev 1,3",
		"60660 0:0 n1 i9 rootfs/dev/sda dev 8,0",
		"120777 0:0 n1 i10 rootfs/lib = usr/lib",
		"10600 0:0 n1 i11 rootfs/pipe",
		"41777 0:0 n1 i12 rootfs/tmp",
		"40755 0:0 n1 i13 rootfs/usr",
		"40755 0:0 n1 i14 rootfs/usr/bin",
		"100644 0:0 n3 i15 rootfs/usr/bin/alias = tool",
		"100644 0:0 n3 i15 rootfs/usr/bin/tool",
		"100644 0:0 n3 i15 rootfs/zz",
	}
	if diff := cmp.Diff(want, records(t, archive(t, "rootfs", tree))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// u-root's own reader agrees on what is in it.
	recs, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(archive(t, "", tree))))
	if err != nil {
		t.Fatal(err)
	}
	if len(recs) != tree.Len() || recs[1].Name != "a/c" {
		t.Errorf("u-root reads %d records", len(recs))
	}
}

func TestArchiveJoined(t *testing.T) {
	b := archive(t, "", newTree(t, file("cmd", "c"), file("env", "e")), newTree(t, file("rootfs/x", "x")))
	want := []string{"100644 0:0 n1 i1 cmd = c", "100644 0:0 n1 i2 env = e", "40755 0:0 n1 i3 rootfs", "100644 0:0 n1 i4 rootfs/x = x"}
	if diff := cmp.Diff(want, records(t, b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	a := rootfs.NewArchive(io.Discard)
	tree := newTree(t, file("cmd", "c"))
	if err := a.AddTree(context.Background(), "", tree); err != nil {
		t.Fatal(err)
	}
	if err := a.AddTree(context.Background(), "", tree); err == nil {
		t.Error("the same name twice accepted")
	}
	if err := a.AddTree(context.Background(), "", newTree(t, file("TRAILER!!!", ""))); err == nil {
		t.Error("end mark as a name accepted")
	}
}

// zeros is a file of zeros that is nowhere.
type zeros int64

func (z zeros) Open() (io.ReaderAt, error) { return z, nil }

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	n := max(0, min(int64(len(p)), int64(z)-off))
	clear(p[:n])
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// TestArchiveStreams writes a file of 1 GiB.
func TestArchiveStreams(t *testing.T) {
	const size = 1 << 30
	tree := newTree(t, rootfs.Entry{Path: "big", Mode: unix.S_IFREG | 0o644, Size: size, Content: zeros(size)})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	a := rootfs.NewArchive(io.Discard)
	if err := a.AddTree(context.Background(), "", tree); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("allocated %d bytes", n)
	}
}

func TestArchiveErrors(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := rootfs.NewArchive(io.Discard).AddTree(ctx, "", newTree(t, file("a", "a"))); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	for _, tt := range []struct {
		name string
		size int64
	}{{"short", 5}, {"long", 3}} {
		tree := newTree(t, rootfs.Entry{Path: "f", Mode: unix.S_IFREG, Size: tt.size, Content: rootfs.Bytes("four")})
		if err := rootfs.NewArchive(io.Discard).AddTree(context.Background(), "", tree); err == nil || !strings.Contains(err.Error(), `"f"`) {
			t.Errorf("%s content: error %v", tt.name, err)
		}
	}
	disk := errors.New("disk full")
	a := rootfs.NewArchive(failing{disk})
	if err := errors.Join(a.AddTree(context.Background(), "", newTree(t, file("a", strings.Repeat("a", 1<<20)))), a.Close()); !errors.Is(err, disk) {
		t.Errorf("error %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestDirectory(t *testing.T) {
	var archives [][]byte
	for range 2 {
		name := t.TempDir()
		must(t, os.MkdirAll(filepath.Join(name, "bin"), 0o755))
		must(t, os.WriteFile(filepath.Join(name, "bin", "app"), []byte("app"), 0o600))
		must(t, os.Chmod(filepath.Join(name, "bin", "app"), 0o755|os.ModeSetuid))
		must(t, os.Link(filepath.Join(name, "bin", "app"), filepath.Join(name, "bin", "app2")))
		must(t, os.Symlink("/etc/passwd", filepath.Join(name, "outside")))
		must(t, unix.Mkfifo(filepath.Join(name, "pipe"), 0o600))
		must(t, os.Chmod(name, 0o750))
		archives = append(archives, directory(t, name))
	}
	want := []string{
		"40755 0:0 n1 i1 rootfs",
		"40755 0:0 n1 i2 rootfs/bin",
		"104755 0:0 n1 i3 rootfs/bin/app = app",
		"104755 0:0 n1 i4 rootfs/bin/app2 = app",
		"120777 0:0 n1 i5 rootfs/outside = /etc/passwd",
		"10600 0:0 n1 i6 rootfs/pipe",
	}
	if diff := cmp.Diff(want, records(t, archives[0])); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("archives of equal directories differ")
	}
}

func directory(t *testing.T, name string) []byte {
	t.Helper()
	d, err := rootfs.OpenDirectory(name)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	tree := rootfs.New(rootfs.Limits{})
	if err := d.AddTo(tree); err != nil {
		t.Fatal(err)
	}
	return archive(t, "rootfs", tree)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestDirectoryChanged changes files between the walk and the writing.
func TestDirectoryChanged(t *testing.T) {
	for name, change := range map[string]func(string) error{
		"longer":        func(p string) error { return os.WriteFile(p, []byte("longer"), 0o644) },
		"gone":          os.Remove,
		"a pipe":        func(p string) error { return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o600)) },
		"a link to out": func(p string) error { return errors.Join(os.Remove(p), os.Symlink("/etc/passwd", p)) },
	} {
		t.Run(name, func(t *testing.T) {
			at := t.TempDir()
			p := filepath.Join(at, "f")
			must(t, os.WriteFile(p, []byte("f"), 0o644))
			d, err := rootfs.OpenDirectory(at)
			must(t, err)
			defer d.Close()
			tree := rootfs.New(rootfs.Limits{})
			must(t, d.AddTo(tree))
			must(t, change(p))
			if err := rootfs.NewArchive(io.Discard).AddTree(context.Background(), "", tree); err == nil {
				t.Error("no error")
			}
		})
	}
	if _, err := rootfs.OpenDirectory(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestAddRecords(t *testing.T) {
	tree := rootfs.New(rootfs.Limits{})
	init := cpio.StaticFile("/init", "init", 0o755)
	init.UID, init.MTime, init.Ino = 1000, 99, 7
	err := rootfs.AddRecords(tree, []cpio.Record{init, cpio.Directory("dev", 0o755), cpio.CharDev("dev/console", 0o600, 5, 1), cpio.Symlink("sbin", "bin"), cpio.StaticFile("empty", "", 0o644)})
	must(t, err)
	want := []string{
		"40755 0:0 n1 i1 dev",
		"20600 0:0 n1 i2 dev/console dev 5,1",
		"100644 0:0 n1 i3 empty",
		"100755 0:0 n1 i4 init = init",
		"120777 0:0 n1 i5 sbin = bin",
	}
	if diff := cmp.Diff(want, records(t, archive(t, "", tree))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	bad := cpio.StaticFile("x", "", 0o644)
	bad.NLink = 2
	for _, r := range []cpio.Record{bad, {Info: cpio.Info{Name: "l", Mode: unix.S_IFLNK}}, cpio.StaticFile("../x", "x", 0o644), {Info: cpio.Info{Name: "t", Mode: 0}}} {
		if err := rootfs.AddRecords(tree, []cpio.Record{r}); err == nil {
			t.Errorf("record %v accepted", r.Info)
		}
	}
}

func TestSpool(t *testing.T) {
	at := t.TempDir()
	s, err := rootfs.NewSpool(at, rootfs.Limits{Bytes: 10})
	must(t, err)
	defer s.Close()
	if files, err := os.ReadDir(at); err != nil || len(files) != 0 {
		t.Errorf("spool has a name: %v, %v", files, err)
	}
	a, n, err := s.Add(strings.NewReader("first"))
	if err != nil || n != 5 {
		t.Fatal(n, err)
	}
	b, _, err := s.Add(strings.NewReader("secon"))
	must(t, err)
	if _, _, err := s.Add(strings.NewReader("d")); !errors.Is(err, rootfs.ErrTooMany) {
		t.Errorf("error %v", err)
	}
	for c, want := range map[rootfs.Content]string{a: "first", b: "secon"} {
		r, err := c.Open()
		must(t, err)
		got := make([]byte, 6)
		k, err := r.ReadAt(got, 0)
		if !errors.Is(err, io.EOF) || string(got[:k]) != want {
			t.Errorf("%q, %v", got[:k], err)
		}
	}
}
