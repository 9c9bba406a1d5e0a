package oci

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// maxJSON bounds manifests, indexes and configurations, as registries do.
	maxJSON = 4 << 20
	// maxMembers bounds the files of an archive; one per layer and a few more
	// is usual.
	maxMembers = 1 << 16
	// maxLinks bounds the links from one file of an archive to another.
	maxLinks = 8
)

// A store is where the files of an image are.
type store interface {
	// open opens a file by its name in the store. The error is fs.ErrNotExist
	// if there is none.
	open(name string) (io.ReadCloser, error)
	close() error
}

// readSmall reads a JSON file of the store.
func readSmall(s store, name string) ([]byte, error) {
	f, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxJSON {
		return nil, fmt.Errorf("%s has more than %d bytes", name, maxJSON)
	}
	return b, nil
}

// A dirStore is a directory. Links cannot lead out of it.
type dirStore struct{ root *os.Root }

func (d dirStore) open(name string) (io.ReadCloser, error) {
	f, err := d.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (d dirStore) close() error { return d.root.Close() }

// A tarStore is a tar archive that is read in place.
type tarStore struct {
	r       *io.SectionReader
	members map[string]member
	closer  io.Closer
}

// A member is a regular file of the archive, or a link to one.
type member struct {
	off, size int64
	link      string
}

// newTarStore reads the headers of the archive.
func newTarStore(ctx context.Context, r *io.SectionReader, closer io.Closer) (*tarStore, error) {
	s := &tarStore{r: r, members: make(map[string]member), closer: closer}
	tr := tar.NewReader(r)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, fmt.Errorf("not a readable tar archive: %w", err)
		}
		if len(s.members) >= maxMembers {
			return nil, fmt.Errorf("archive has more than %d files", maxMembers)
		}
		name := memberName(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			// tar.Reader has read exactly up to the content.
			off, err := r.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, err
			}
			if sparse(h) {
				return nil, fmt.Errorf("%q is stored as a sparse file", h.Name)
			}
			if h.Size > r.Size()-off {
				return nil, fmt.Errorf("archive is cut off inside %q", h.Name)
			}
			s.members[name] = member{off: off, size: h.Size}
		case tar.TypeSymlink:
			s.members[name] = member{link: memberName(path.Join(path.Dir(name), h.Linkname))}
		case tar.TypeLink:
			s.members[name] = member{link: memberName(h.Linkname)}
		}
	}
}

// memberName makes names comparable. A name that leads out of the archive just
// matches no file.
func memberName(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// sparse reports whether the content of a member is not stored as it is.
func sparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func (s *tarStore) open(name string) (io.ReadCloser, error) {
	at := memberName(name)
	for range maxLinks {
		m, ok := s.members[at]
		if !ok {
			return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
		}
		if m.link == "" {
			return io.NopCloser(io.NewSectionReader(s.r, m.off, m.size)), nil
		}
		at = m.link
	}
	return nil, fmt.Errorf("%s: too many links", name)
}

func (s *tarStore) close() error { return s.closer.Close() }
