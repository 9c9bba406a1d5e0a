package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"

	"github.com/nitrolab/nitrolab/images/rootfs"
)

// Options choose among the images of an archive and bound the work.
type Options struct {
	// Architecture is the image's GOARCH, such as "amd64". It is required.
	Architecture string
	// Tag names the image in an archive that holds several: "app:1.0".
	Tag string
	// TempDir is where large temporary files go; empty for the system's.
	TempDir string
	// Limits bound how far the image may expand.
	Limits rootfs.Limits
}

// An Image is an opened container image. Close it after use.
type Image struct {
	// Config is the image's configuration: command, environment, and so on.
	Config *v1.ConfigFile
	// ID is the digest of the configuration, which docker calls the image ID.
	ID v1.Hash
	// Reference is the name the archive gives the image, such as "app:1.0";
	// it may be empty.
	Reference string

	layers []layer
	store  store
	limits rootfs.Limits
}

// A layer is a file of the store with a digest of what it unpacks to.
type layer struct {
	file   string
	diffID v1.Hash
}

// Open opens the image in the file or directory name. It reads headers and
// manifests only, unless the whole archive is gzipped, which is unpacked to a
// temporary file first.
func Open(ctx context.Context, name string, o Options) (*Image, error) {
	o.Limits = o.Limits.WithDefaults()
	s, err := openStore(ctx, name, o)
	if err != nil {
		return nil, fmt.Errorf("oci: open %s: %w", name, err)
	}
	im, err := openImage(s, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("oci: open %s: %w", name, err), s.close())
	}
	im.store, im.limits = s, o.Limits
	return im, nil
}

// Close frees what Open took.
func (im *Image) Close() error { return im.store.close() }

// openStore finds out what name is.
func openStore(ctx context.Context, name string, o Options) (store, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	switch {
	case err != nil:
		return nil, errors.Join(err, f.Close())
	case fi.IsDir():
		root, err := os.OpenRoot(name)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		return dirStore{root}, nil
	case !fi.Mode().IsRegular():
		return nil, errors.Join(errors.New("neither a file nor a directory"), f.Close())
	}
	var closer io.Closer = f
	r := io.NewSectionReader(f, 0, fi.Size())
	var head [2]byte
	if n, _ := r.ReadAt(head[:], 0); n == 2 && head == gzipMagic {
		r, closer, err = gunzip(ctx, r, o)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	s, err := newTarStore(ctx, r, closer)
	if err != nil {
		return nil, errors.Join(err, closer.Close())
	}
	return s, nil
}

var gzipMagic = [2]byte{0x1f, 0x8b}

// gunzip unpacks a whole archive, whose files must be readable in any order.
func gunzip(ctx context.Context, r io.Reader, o Options) (_ *io.SectionReader, _ io.Closer, err error) {
	zr, err := gzip.NewReader(r)
	if err != nil {
		return nil, nil, err
	}
	spool, err := rootfs.NewSpool(o.TempDir, o.Limits)
	if err != nil {
		return nil, nil, err
	}
	content, err := spool.Add(contextReader{ctx, zr})
	if err != nil {
		return nil, nil, errors.Join(err, spool.Close())
	}
	return content, spool, nil
}

// openImage finds out which of the two forms the store has. An archive of a
// current docker has both; the OCI form is the one with digests throughout.
func openImage(s store, o Options) (*Image, error) {
	im, err := openLayout(s, o)
	if errors.Is(err, errNoLayout) {
		im, err = openDockerArchive(s, o)
		if errors.Is(err, errNoDockerArchive) {
			return nil, errors.New("no container image: it has neither index.json (OCI layout) nor manifest.json (docker save)")
		}
	}
	if err != nil {
		return nil, err
	}
	if len(im.layers) != len(im.Config.RootFS.DiffIDs) {
		return nil, fmt.Errorf("manifest has %d layers, configuration has %d", len(im.layers), len(im.Config.RootFS.DiffIDs))
	}
	for i := range im.layers {
		im.layers[i].diffID = im.Config.RootFS.DiffIDs[i]
	}
	if c := im.Config; c.OS != "" && c.OS != "linux" || c.Architecture != "" && c.Architecture != o.Architecture {
		return nil, fmt.Errorf("image is for %s/%s, wanted is linux/%s", c.OS, c.Architecture, o.Architecture)
	}
	return im, nil
}

// optional turns "no such file" into the error absent.
func optional(err, absent error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return absent
	}
	return err
}

// contextReader fails once its context has ended.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// quoteAll lists names for a message.
func quoteAll(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	const most = 20
	if len(names) > most {
		names = append(names[:most:most], "...")
	}
	return strings.Join(names, ", ")
}
