package rootfs_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/images/initramfs"
	"github.com/nitrolab/nitrolab/images/initramfs/initramfstest"
	"github.com/nitrolab/nitrolab/images/rootfs"
)

// archive is the ramdisk that a tree becomes.
func archive(t testing.TB, prefix string, tree *rootfs.Tree) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := initramfs.Write(&b, tree.Records(prefix)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// lines are the entries of an archive as text.
func lines(t testing.TB, archive []byte) []string {
	t.Helper()
	return initramfstest.Lines(t, bytes.NewReader(archive))
}

func file(path, content string) cpio.Record { return cpio.StaticFile(path, content, 0o644) }

func dir(path string) cpio.Record { return cpio.Directory(path, 0o755) }

func newTree(t testing.TB, files ...cpio.Record) *rootfs.Tree {
	t.Helper()
	tree := rootfs.New(rootfs.Limits{})
	for _, f := range files {
		must(t, tree.Add(f))
	}
	return tree
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRecords(t *testing.T) {
	tree := newTree(t,
		file("usr/bin/tool", "tool"),
		cpio.Record{Info: cpio.Info{Name: "/", Mode: cpio.S_IFDIR | 0o700, UID: 5, GID: 6}},
		cpio.StaticRecord([]byte("s"), cpio.Info{Name: "./bin/su", Mode: cpio.S_IFREG | 0o4755, UID: 0, GID: 1}),
		cpio.Symlink("lib", "usr/lib"),
		cpio.CharDev("dev/null", 0o666, 1, 3),
		cpio.Record{Info: cpio.Info{Name: "dev/sda", Mode: cpio.S_IFBLK | 0o660, Rmajor: 8, Rminor: 0}},
		cpio.Record{Info: cpio.Info{Name: "pipe", Mode: cpio.S_IFIFO | 0o600}},
		cpio.Directory("tmp", 0o1777),
		file("a-b", ""),
		file("a/c", "odd"),
	)
	for name, target := range map[string]string{"usr/bin/alias": "/usr/bin/tool", "zz": "/usr/bin/tool", "ab": "a-b", "lib2": "lib", "pipe2": "pipe"} {
		must(t, tree.Link(name, target))
	}
	want := []string{
		"40700 5:6 n2 i1 rootfs",
		"40755 0:0 n2 i2 rootfs/a",
		"100644 0:0 n2 i3 rootfs/a-b",
		"100644 0:0 n1 i4 rootfs/a/c = odd",
		"100644 0:0 n2 i3 rootfs/ab",
		"40755 0:0 n2 i5 rootfs/bin",
		"104755 0:1 n1 i6 rootfs/bin/su = s",
		"40755 0:0 n2 i7 rootfs/dev",
		"20666 0:0 n1 i8 rootfs/dev/null dev 1,3",
		"60660 0:0 n1 i9 rootfs/dev/sda dev 8,0",
		"120777 0:0 n1 i10 rootfs/lib = usr/lib",
		"120777 0:0 n1 i11 rootfs/lib2 = usr/lib",
		"10600 0:0 n2 i12 rootfs/pipe",
		"10600 0:0 n2 i12 rootfs/pipe2",
		"41777 0:0 n2 i13 rootfs/tmp",
		"40755 0:0 n2 i14 rootfs/usr",
		"40755 0:0 n2 i15 rootfs/usr/bin",
		"100644 0:0 n3 i16 rootfs/usr/bin/alias = tool",
		"100644 0:0 n3 i16 rootfs/usr/bin/tool",
		"100644 0:0 n3 i16 rootfs/zz",
	}
	if diff := cmp.Diff(want, lines(t, archive(t, "rootfs", tree))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Without a prefix the root is left out.
	if got := lines(t, archive(t, "", tree)); len(got) != tree.Len() || got[0] != "40755 0:0 n2 i1 a" {
		t.Errorf("%d entries, first %s", len(got), got[0])
	}
}

func TestAddRecords(t *testing.T) {
	tree := rootfs.New(rootfs.Limits{})
	init := cpio.StaticFile("/init", "init", 0o755)
	init.UID, init.MTime, init.Ino = 1000, 99, 7
	err := tree.AddRecords([]cpio.Record{init, cpio.Directory("dev", 0o755), cpio.CharDev("dev/console", 0o600, 5, 1), cpio.Symlink("sbin", "bin"), cpio.StaticFile("empty", "", 0o644)})
	must(t, err)
	want := []string{
		"40755 0:0 n2 i1 dev",
		"20600 0:0 n1 i2 dev/console dev 5,1",
		"100644 0:0 n1 i3 empty",
		"100755 0:0 n1 i4 init = init",
		"120777 0:0 n1 i5 sbin = bin",
	}
	if diff := cmp.Diff(want, lines(t, archive(t, "", tree))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	bad := cpio.StaticFile("x", "", 0o644)
	bad.NLink = 2
	for _, r := range []cpio.Record{bad, {Info: cpio.Info{Name: "l", Mode: unix.S_IFLNK}}, cpio.StaticFile("../x", "x", 0o644), {Info: cpio.Info{Name: "t", Mode: 0}}} {
		if err := tree.AddRecords([]cpio.Record{r}); err == nil {
			t.Errorf("record %v accepted", r.Info)
		}
	}
}
