package oci_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/initramfs"
	"github.com/nitrolab/nitrolab/images/oci"
	"github.com/nitrolab/nitrolab/images/rootfs"
)

// An entry is one entry of a layer; typ 0 is a regular file.
type entry struct {
	name, body, link string
	typ              byte
	mode             int64
	uid, gid         int
	major, minor     int64
	pax              map[string]string
}

func f(name, body string) entry    { return entry{name: name, body: body} }
func d(name string) entry          { return entry{name: name, typ: tar.TypeDir, mode: 0o755} }
func l(name, target string) entry  { return entry{name: name, typ: tar.TypeSymlink, link: target} }
func hl(name, target string) entry { return entry{name: name, typ: tar.TypeLink, link: target} }

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{
			Name: e.name, Typeflag: e.typ, Linkname: e.link, Mode: e.mode, Uid: e.uid, Gid: e.gid,
			Devmajor: e.major, Devminor: e.minor, Size: int64(len(e.body)), PAXRecords: e.pax,
		}
		if e.typ == 0 {
			h.Typeflag = tar.TypeReg
			if e.mode == 0 {
				h.Mode = 0o644
			}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func layerOf(t testing.TB, b []byte, opts ...tarball.LayerOption) v1.Layer {
	t.Helper()
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// imageOf makes an amd64 image of layers of entries.
func imageOf(t testing.TB, layers ...[]entry) v1.Image {
	t.Helper()
	img := withConfig(t, empty.Image, "amd64", v1.Config{Cmd: []string{"/app"}})
	for _, entries := range layers {
		img = appendLayer(t, img, layerOf(t, tarOf(t, entries...)))
	}
	return img
}

func appendLayer(t testing.TB, img v1.Image, layer v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(img, layer)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func withConfig(t testing.TB, img v1.Image, arch string, c v1.Config) v1.Image {
	t.Helper()
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture, cf.Config = "linux", arch, c
	img, err = mutate.ConfigFile(img, cf)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// dockerArchive writes img as docker save does.
func dockerArchive(t testing.TB, images map[string]v1.Image) string {
	t.Helper()
	name2 := make(map[name.Reference]v1.Image)
	for tag, img := range images {
		ref, err := name.NewTag(tag)
		if err != nil {
			t.Fatal(err)
		}
		name2[ref] = img
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.MultiRefWriteToFile(file, name2); err != nil {
		t.Fatal(err)
	}
	return file
}

// layoutDir writes images as an OCI layout.
func layoutDir(t testing.TB, images ...v1.Image) string {
	t.Helper()
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range images {
		if err := p.AppendImage(img); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tarDir packs a directory into a tar file.
func tarDir(t testing.TB, dir string) string {
	t.Helper()
	var entries []entry
	err := filepath.WalkDir(dir, func(p string, de fs.DirEntry, err error) error {
		if err != nil || de.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		entries = append(entries, f("./"+rel, string(b)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return write(t, tarOf(t, entries...))
}

func write(t testing.TB, b []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func gzipped(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b)
	w.Close()
	return write(t, z.Bytes())
}

var amd64 = oci.Options{Architecture: "amd64"}

// flatten opens and flattens an archive and lists what comes out.
func flatten(t testing.TB, file string, o oci.Options) ([]string, []string, error) {
	t.Helper()
	im, err := oci.Open(context.Background(), file, o)
	if err != nil {
		return nil, nil, err
	}
	defer im.Close()
	spool, err := rootfs.NewSpool(t.TempDir(), o.Limits)
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	tree, lost, err := im.Flatten(context.Background(), spool)
	if err != nil {
		return nil, nil, err
	}
	return list(t, tree), lost, nil
}

// list is the tree as lines "mode uid:gid path ..." with the mode in octal.
func list(t testing.TB, tree *rootfs.Tree) []string {
	t.Helper()
	var out []string
	for r := range tree.Entries() {
		s := fmt.Sprintf("%o %d:%d %s", r.Mode, r.UID, r.GID, r.Name)
		switch r.Mode & cpio.S_IFMT {
		case cpio.S_IFLNK:
			target, err := initramfs.Target(r)
			if err != nil {
				t.Fatal(err)
			}
			s += " -> " + target
		case cpio.S_IFREG:
			if r.FileSize == 0 {
				break
			}
			b := make([]byte, min(r.FileSize, 100))
			if _, err := r.ReadAt(b, 0); err != nil {
				t.Fatal(err)
			}
			s += " = " + string(b)
		case cpio.S_IFCHR, cpio.S_IFBLK:
			s += fmt.Sprintf(" dev %d,%d", r.Rmajor, r.Rminor)
		}
		out = append(out, s)
	}
	return out
}

// paths are only the names in a list.
func paths(lines []string) string {
	var names []string
	for _, s := range lines {
		names = append(names, strings.Fields(s)[2])
	}
	return strings.Join(names, " ")
}
