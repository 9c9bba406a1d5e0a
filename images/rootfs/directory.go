package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Directory is a host directory as the source of a tree. Its files are read
// when the archive is written, so it must stay as it is until then. Close it
// afterwards.
type Directory struct{ root *os.Root }

// OpenDirectory opens a host directory.
func OpenDirectory(name string) (*Directory, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("rootfs: %w", err)
	}
	return &Directory{root}, nil
}

// Close closes the directory.
func (d *Directory) Close() error { return d.root.Close() }

// AddTo adds everything in the directory to t. Owner and group become 0, times
// and the mode of the directory itself are dropped, as who copied the files,
// when and to where must not show in a measurement; hard links become separate
// files for the same reason. Extended attributes are dropped, a cpio archive
// has none. Symbolic links are kept and not followed.
func (d *Directory) AddTo(t *Tree) error {
	return fs.WalkDir(d.root.FS(), ".", func(path string, de fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("rootfs: %w", err)
		}
		if path == "." {
			return nil
		}
		fi, err := de.Info()
		if err != nil {
			return fmt.Errorf("rootfs: %w", err)
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		if !ok {
			return &PathError{Path: path, Err: errors.New("no Linux file information")}
		}
		e := Entry{Path: path, Mode: st.Mode}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			e.Size, e.Content = fi.Size(), hostFile{d.root, path, fi.Size()}
		case unix.S_IFLNK:
			if e.Target, err = d.root.Readlink(path); err != nil {
				return fmt.Errorf("rootfs: %w", err)
			}
			e.Mode = unix.S_IFLNK | 0o777
		case unix.S_IFCHR, unix.S_IFBLK:
			e.Major, e.Minor = unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))
		}
		return t.Add(e)
	})
}

// A hostFile is the content of a file in a Directory.
type hostFile struct {
	root *os.Root
	path string
	size int64
}

// Open implements Content. A file that is no longer what it was when the
// directory was walked is an error.
func (h hostFile) Open() (io.ReaderAt, error) {
	// Without O_NONBLOCK a pipe put in the file's place would hang the build.
	f, err := h.root.OpenFile(h.path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && (!fi.Mode().IsRegular() || fi.Size() != h.size) {
		err = errors.New("file changed while it was read")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
