package initramfs

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"
)

// FromFile returns a record for the regular file at hostPath under the given
// name and permission bits. The file is opened only while it is written.
func FromFile(name, hostPath string, perm uint64) (File, error) {
	fi, err := os.Stat(hostPath)
	if err != nil {
		return File{}, fmt.Errorf("add file to ramdisk: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return File{}, fmt.Errorf("add %s to ramdisk: not a regular file", hostPath)
	}
	return fileRecord(name, hostPath, cpio.S_IFREG|perm&0o7777, fi.Size()), nil
}

func fileRecord(name, hostPath string, mode uint64, size int64) File {
	return File{
		ReaderAt: &diskFile{path: hostPath, size: size},
		Info:     cpio.Info{Name: name, Mode: mode, FileSize: uint64(size)},
	}
}

// Tree returns records for everything below the directory dir, with names below
// prefix ("" is the root). Symbolic links are kept as they are and never
// followed. Permission bits are taken as they are on disk and are thus
// measured; owners and times are not.
//
// A socket is an error, because no ramdisk can hold one.
func Tree(prefix, dir string) ([]File, error) {
	var records []File
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if rel == "." {
			if !d.IsDir() {
				return fmt.Errorf("%s is no directory", dir)
			}
			return nil
		}
		if len(records) >= MaxFiles {
			return fmt.Errorf("more than %d files", MaxFiles)
		}
		r, err := treeRecord(path.Join(prefix, filepath.ToSlash(rel)), p, d)
		if err != nil {
			return err
		}
		records = append(records, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("add tree to ramdisk: %w", err)
	}
	return records, nil
}

func treeRecord(name, hostPath string, d fs.DirEntry) (File, error) {
	fi, err := d.Info()
	if err != nil {
		return File{}, err
	}
	var st unix.Stat_t
	if err := unix.Lstat(hostPath, &st); err != nil {
		return File{}, fmt.Errorf("%s: %w", hostPath, err)
	}
	mode := uint64(st.Mode)
	switch mode & cpio.S_IFMT {
	case cpio.S_IFREG:
		return fileRecord(name, hostPath, mode, fi.Size()), nil
	case cpio.S_IFDIR:
		return cpio.Directory(name, mode), nil
	case cpio.S_IFLNK:
		target, err := os.Readlink(hostPath)
		if err != nil {
			return File{}, err
		}
		return cpio.Symlink(name, target), nil
	case cpio.S_IFIFO:
		return File{Info: cpio.Info{Name: name, Mode: mode}}, nil
	case cpio.S_IFCHR, cpio.S_IFBLK:
		return File{Info: cpio.Info{
			Name: name, Mode: mode,
			Rmajor: uint64(unix.Major(st.Rdev)), Rminor: uint64(unix.Minor(st.Rdev)),
		}}, nil
	}
	return File{}, fmt.Errorf("%s: a ramdisk cannot hold this type of file (%v)", hostPath, d.Type())
}

// A diskFile is the content of a file on disk. It is opened for each read, which
// costs some microseconds for every 32 KiB, so that an archive of 10^5 files
// holds none open and can be read from any place by several readers.
type diskFile struct {
	path string
	size int64
}

// ReadAt implements io.ReaderAt. It fails if the file changed its size since
// the record was made, because the archive was laid out for the old one.
func (d *diskFile) ReadAt(p []byte, off int64) (int, error) {
	f, err := os.Open(d.path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !fi.Mode().IsRegular() || fi.Size() != d.size {
		return 0, fmt.Errorf("%s: changed since the archive was laid out", d.path)
	}
	return f.ReadAt(p, off)
}
