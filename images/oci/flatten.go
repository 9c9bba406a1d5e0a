package oci

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/initramfs"
	"github.com/nitrolab/nitrolab/images/rootfs"
)

// A LayerError says which layer, and which entry in it, could not be applied.
type LayerError struct {
	// Layer counts from 0, the lowest one.
	Layer int
	// Entry is the name in the layer's tar; empty when the fault is in the
	// layer as a whole.
	Entry string
	Err   error
}

// Error names layer, entry and fault.
func (e *LayerError) Error() string {
	if e.Entry == "" {
		return fmt.Sprintf("oci: layer %d: %v", e.Layer, e.Err)
	}
	return fmt.Sprintf("oci: layer %d: entry %.200q: %v", e.Layer, e.Entry, e.Err)
}

// Unwrap returns the fault.
func (e *LayerError) Unwrap() error { return e.Err }

// Names with a meaning in layers (image specification, "Whiteouts"; the second
// prefix marks files of the old AUFS driver).
const (
	whiteoutPrefix = ".wh."
	aufsPrefix     = ".wh..wh."
	opaqueMarker   = ".wh..wh..opq"
)

// Flatten applies all layers in order and returns the root filesystem, whose
// file contents are in spool and stay valid until that is closed. Device nodes,
// set-user-id bits, owners and hard links are kept, as nothing is created on
// this machine; times are not. The strings say what was lost on the way. Errors
// in a layer are [*LayerError].
func (im *Image) Flatten(ctx context.Context, spool *rootfs.Spool) (*rootfs.Tree, []string, error) {
	f := flattener{tree: rootfs.New(im.limits), spool: spool}
	b := &budget{left: im.limits.Bytes, all: im.limits.Bytes}
	for i, l := range im.layers {
		if err := f.layer(ctx, im.store, i, l, b); err != nil {
			return nil, nil, err
		}
	}
	var lost []string
	if f.xattrs > 0 {
		lost = append(lost, fmt.Sprintf("%d files have extended attributes, which an initramfs cannot hold: %s of %.200q and others",
			f.xattrs, f.xattr, f.xattrFile))
	}
	return f.tree, lost, nil
}

type flattener struct {
	tree  *rootfs.Tree
	spool *rootfs.Spool

	xattrs           int
	xattr, xattrFile string // the first one
}

// layer applies one layer.
func (f *flattener) layer(ctx context.Context, s store, i int, l layer, b *budget) (err error) {
	r, err := openLayer(ctx, s, l, b)
	if err != nil {
		return &LayerError{Layer: i, Err: err}
	}
	defer func() { err = errors.Join(err, r.close()) }()
	f.tree.NextLayer()
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return &LayerError{Layer: i, Err: err}
		}
		if err := f.entry(h, tr); err != nil {
			var p *rootfs.PathError
			if errors.As(err, &p) {
				err = p.Err // it names the entry again
			}
			return &LayerError{Layer: i, Entry: h.Name, Err: err}
		}
	}
	if err := r.finish(l.diffID); err != nil {
		return &LayerError{Layer: i, Err: err}
	}
	return nil
}

// entry applies one entry of a layer.
func (f *flattener) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	dir, base := path.Split(strings.TrimRight(h.Name, "/"))
	switch {
	case base == opaqueMarker:
		return f.tree.Opaque(dir)
	case strings.HasPrefix(base, aufsPrefix) || strings.Contains(dir, aufsPrefix):
		return nil
	case strings.HasPrefix(base, whiteoutPrefix):
		name := strings.TrimPrefix(base, whiteoutPrefix)
		if name == "" || name == "." || name == ".." {
			return errors.New("whiteout of no file")
		}
		return f.tree.Whiteout(dir + name)
	case h.Typeflag == tar.TypeLink:
		return f.tree.Link(h.Name, h.Linkname)
	}
	r, err := newRecord(h)
	if err != nil {
		return err
	}
	if r.Mode&cpio.S_IFMT == cpio.S_IFREG {
		// Sizes that no archive can hold are refused before they fill the disk.
		if h.Size > initramfs.MaxFile {
			return fmt.Errorf("file has %d bytes, allowed are at most %d", h.Size, int64(initramfs.MaxFile))
		}
		c, err := f.spool.Add(content)
		if err != nil {
			return err
		}
		r.ReaderAt, r.FileSize = c, uint64(c.Size())
	}
	f.noteXattrs(h)
	return f.tree.Add(r)
}

// newRecord translates a tar header.
func newRecord(h *tar.Header) (cpio.Record, error) {
	r := cpio.Record{Info: cpio.Info{Name: h.Name, Mode: uint64(h.Mode & 0o7777)}}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		r.Mode |= cpio.S_IFREG
	case tar.TypeDir:
		r.Mode |= cpio.S_IFDIR
	case tar.TypeSymlink:
		r = cpio.Symlink(h.Name, h.Linkname)
	case tar.TypeChar:
		r.Mode |= cpio.S_IFCHR
	case tar.TypeBlock:
		r.Mode |= cpio.S_IFBLK
	case tar.TypeFifo:
		r.Mode |= cpio.S_IFIFO
	default:
		return r, fmt.Errorf("tar entry type is %q, which no root filesystem has", h.Typeflag)
	}
	for _, n := range []struct {
		what string
		from int64
		to   *uint64
	}{
		{"owner", int64(h.Uid), &r.UID},
		{"group", int64(h.Gid), &r.GID},
		{"major device number", h.Devmajor, &r.Rmajor},
		{"minor device number", h.Devminor, &r.Rminor},
	} {
		if n.from < 0 {
			return r, fmt.Errorf("%s is %d, allowed are 0 to %d", n.what, n.from, uint32(math.MaxUint32))
		}
		*n.to = uint64(n.from) // what is too large the tree refuses
	}
	return r, nil
}

// noteXattrs counts files whose extended attributes are lost.
func (f *flattener) noteXattrs(h *tar.Header) {
	const prefix = "SCHILY.xattr."
	var names []string
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, prefix) {
			names = append(names, strings.TrimPrefix(key, prefix))
		}
	}
	if len(names) == 0 {
		return
	}
	if f.xattrs == 0 {
		f.xattr, f.xattrFile = slices.Min(names), h.Name
	}
	f.xattrs++
}
