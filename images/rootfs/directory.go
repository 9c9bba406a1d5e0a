package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"
)

// A Directory is a host directory as the source of a tree. Its files are read
// when the ramdisk is read, so it must stay as it is until then. Close it
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
		r := cpio.Record{Info: cpio.Info{Name: path, Mode: uint64(st.Mode)}}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			r.FileSize, r.ReaderAt = uint64(fi.Size()), &hostFile{d.root, path, fi.Size()}
		case unix.S_IFLNK:
			target, err := d.root.Readlink(path)
			if err != nil {
				return fmt.Errorf("rootfs: %w", err)
			}
			r = cpio.Symlink(path, target)
		case unix.S_IFCHR, unix.S_IFBLK:
			r.Rmajor, r.Rminor = uint64(unix.Major(uint64(st.Rdev))), uint64(unix.Minor(uint64(st.Rdev)))
		}
		return t.Add(r)
	})
}

// A hostFile is the content of a file in a Directory. It is opened for each read,
// which a ramdisk of 10^5 files must do, as none can be held open.
type hostFile struct {
	root *os.Root
	path string
	size int64
}

// ReadAt implements io.ReaderAt. A file that is no longer what it was when the
// directory was walked is an error: the ramdisk was laid out for the old one.
func (h *hostFile) ReadAt(p []byte, off int64) (n int, err error) {
	// Without O_NONBLOCK a pipe put in the file's place would hang the build.
	f, err := h.root.OpenFile(h.path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !fi.Mode().IsRegular() || fi.Size() != h.size {
		return 0, errors.New("file changed while it was read")
	}
	return f.ReadAt(p, off)
}
