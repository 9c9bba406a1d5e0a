package debian

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// maxUnpacked bounds what one package may unpack to. Debian's largest kernel
// with modules has 400 MB.
const maxUnpacked = 2 << 30

// Unpack unpacks the package file name below root, whose content it may
// overwrite but not leave: a name that points out of it fails, a symbolic link that
// does is left out (it is for an installed system; nothing here follows it).
//
// keep, which may be nil, says for each path (relative, with slashes) whether it
// is wanted. Directories are made as needed, with mode 0755; files have the mode
// that the package gives without write bits for others; devices and the like are
// left out; owners and times are not kept.
//
// dpkg-deb knows the compressions of packages; the archive within is read here,
// so that only what is wanted reaches the disk.
func Unpack(ctx context.Context, name string, root *os.Root, keep func(string) bool) error {
	fail := func(err error) error { return fmt.Errorf("unpack package %s: %w", filepath.Base(name), noSpace(err)) }
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, w := io.Pipe()
	failed := make(chan error, 1)
	go func() {
		err := unpackTar(tar.NewReader(r), root, keep)
		if err != nil {
			cancel(err) // dpkg-deb need not go on
		}
		// To the end, so that dpkg-deb does not fail on a closed pipe.
		_, _ = io.Copy(io.Discard, r)
		failed <- err
	}()
	_, err := run(ctx, command{path: "dpkg-deb", args: []string{"--fsys-tarfile", name}, out: w})
	_ = w.CloseWithError(err)
	if tarErr := <-failed; tarErr != nil && (err == nil || !errors.Is(tarErr, err)) {
		return fail(tarErr)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// unpackTar makes what the archive holds.
func unpackTar(t *tar.Reader, root *os.Root, keep func(string) bool) error {
	left := int64(maxUnpacked)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean(h.Name)
		if name == "." || keep != nil && !keep(name) {
			continue
		}
		if !filepath.IsLocal(name) {
			return fmt.Errorf("entry %q leaves the folder", h.Name)
		}
		if left -= h.Size; h.Size < 0 || left < 0 {
			return fmt.Errorf("entry %q: over %d bytes in all", h.Name, int64(maxUnpacked))
		}
		if err := unpackEntry(t, h, name, root); err != nil {
			return err
		}
	}
}

// unpackEntry makes one entry.
func unpackEntry(t *tar.Reader, h *tar.Header, name string, root *os.Root) error {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeSymlink, tar.TypeLink:
	default:
		return nil // folders are made as needed
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch h.Typeflag {
	case tar.TypeLink:
		return root.Link(path.Clean(h.Linkname), name)
	case tar.TypeSymlink:
		if !staysInside(name, h.Linkname) {
			return nil
		}
		return root.Symlink(h.Linkname, name)
	}
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(h.Mode)&0o755|0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, t); err != nil {
		return errors.Join(err, out.Close())
	}
	return out.Close()
}

// staysInside reports whether a link at name to target stays in the folder
// that name is relative to.
func staysInside(name, target string) bool {
	return !path.IsAbs(target) && target != "" && !strings.ContainsRune(target, 0) &&
		filepath.IsLocal(path.Join(path.Dir(name), target))
}
