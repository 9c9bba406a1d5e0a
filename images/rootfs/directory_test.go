package rootfs_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/images/initramfs"
	"github.com/nitrolab/nitrolab/images/rootfs"
)

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
		"40755 0:0 n2 i1 rootfs",
		"40755 0:0 n2 i2 rootfs/bin",
		"104755 0:0 n1 i3 rootfs/bin/app = app",
		"104755 0:0 n1 i4 rootfs/bin/app2 = app",
		"120777 0:0 n1 i5 rootfs/outside = /etc/passwd",
		"10600 0:0 n1 i6 rootfs/pipe",
	}
	if diff := cmp.Diff(want, lines(t, archives[0])); diff != "" {
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
			if err := initramfs.Write(io.Discard, tree.Records("")); err == nil || !strings.Contains(err.Error(), `"f"`) {
				t.Errorf("error %v, want one that names the file", err)
			}
		})
	}
	if _, err := rootfs.OpenDirectory(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
