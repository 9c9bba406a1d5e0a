package debian_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/images/toolchain/debian"
	"github.com/nitrolab/nitrolab/images/toolchain/debian/debiantest"
)

// unpack unpacks a package into a new folder and lists what came of it.
func unpack(t *testing.T, body []byte, keep func(string) bool) (map[string]string, error) {
	t.Helper()
	dir := t.TempDir()
	deb := filepath.Join(dir, "p.deb")
	if err := os.WriteFile(deb, body, 0o644); err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(dir, "root")
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	unpackErr := debian.Unpack(t.Context(), deb, root, keep)
	got := map[string]string{}
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || p == deb {
			return err
		}
		rel, err := filepath.Rel(inside, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if link, err := os.Readlink(p); err == nil {
			got[rel] = "-> " + link
			return nil
		}
		b, err := os.ReadFile(p)
		got[rel] = info.Mode().String() + " " + string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, unpackErr
}

func TestUnpack(t *testing.T) {
	d := debiantest.Deb{Name: "p", Version: "1", Files: map[string]debiantest.File{
		"usr/bin/tool":         {Content: "tool", Mode: 0o4755},
		"usr/lib/libx.so.1":    {Content: "x", Mode: 0o666},
		"usr/lib/libx.so":      {Link: "libx.so.1"},
		"usr/lib/up":           {Link: "../bin/tool"},
		"usr/lib/out":          {Link: "../../../outside"},
		"usr/lib/absolute":     {Link: "/etc/passwd"},
		"usr/share/doc/p/note": {Content: "no"},
	}}
	got, err := unpack(t, d.Build(t), func(p string) bool { return !strings.HasPrefix(p, "usr/share/doc") })
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"usr/bin/tool":      "-rwxr-xr-x tool",
		"usr/lib/libx.so.1": "-rw-r--r-- x",
		"usr/lib/libx.so":   "-> libx.so.1",
		"usr/lib/up":        "-> ../bin/tool",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// hostile gives a package whose data archive has these entries as they are.
func hostile(t *testing.T, headers ...tar.Header) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = 1
		}
		h.Mode = 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte("!")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	control := debiantest.Tar(t, map[string]debiantest.File{"control": {Content: "Package: p\nVersion: 1\nArchitecture: all\n"}})
	return debiantest.Archive(control, b.Bytes())
}

func TestUnpackStaysInside(t *testing.T) {
	reg := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
	for name, body := range map[string][]byte{
		"parent":              hostile(t, reg("../evil")),
		"deep parent":         hostile(t, reg("./a/../../evil")),
		"absolute":            hostile(t, reg("/evil")),
		"hard link out":       hostile(t, tar.Header{Typeflag: tar.TypeLink, Name: "a", Linkname: "../p.deb"}),
		"hard link to absent": hostile(t, tar.Header{Typeflag: tar.TypeLink, Name: "a", Linkname: "b"}),
		"not a package":       []byte("!<arch>\nnonsense"),
		"cut off":             hostile(t, reg("a"), reg("b"))[:700],
	} {
		t.Run(name, func(t *testing.T) {
			got, err := unpack(t, body, nil)
			if err == nil {
				t.Error("no error")
			}
			for f := range got {
				if !filepath.IsLocal(f) {
					t.Errorf("wrote %s outside the folder", f)
				}
			}
		})
	}
	t.Run("through a link", func(t *testing.T) {
		// A link that stays inside at first and leaves through another one.
		body := hostile(t,
			tar.Header{Typeflag: tar.TypeSymlink, Name: "d/l", Linkname: ".."},
			tar.Header{Typeflag: tar.TypeSymlink, Name: "d/m", Linkname: "l/.."},
			reg("d/m/evil"))
		got, _ := unpack(t, body, nil)
		for f := range got {
			if !filepath.IsLocal(f) {
				t.Errorf("wrote %s outside the folder", f)
			}
		}
	})
	t.Run("devices are left out", func(t *testing.T) {
		got, err := unpack(t, hostile(t, tar.Header{Typeflag: tar.TypeChar, Name: "null"}, tar.Header{Typeflag: tar.TypeFifo, Name: "p"}, reg("a")), nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"a": "-rw-r--r-- !"}, got); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	})
}

func TestUnpackCancelled(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	deb := filepath.Join(t.TempDir(), "p.deb")
	if err := os.WriteFile(deb, debiantest.Deb{Name: "p", Version: "1"}.Build(t), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := debian.Unpack(ctx, deb, root, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}
