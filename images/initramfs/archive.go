// Package initramfs writes the ramdisks of an enclave image: cpio archives in
// the "newc" format (Linux Documentation/driver-api/early-userspace/
// buffer-format.rst) which are the same to the byte whenever the files are the
// same, because the digest of a ramdisk is part of PCR0.
//
// Files are records of u-root's cpio package. An [Archive] orders and completes
// them; it holds no content itself, so that an image of gigabytes is measured
// and written in constant memory, as often as wanted.
package initramfs

import (
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
)

const (
	// pathMax is the kernel's PATH_MAX. init/initramfs.c skips an entry whose
	// name, or whose symbolic link target, is longer, without a word.
	pathMax = 4096

	// MaxFiles bounds the number of entries of one archive, those created for
	// missing parents included. A full distribution has about 10^5.
	MaxFiles = 1 << 20
)

// A File is one file of an archive: its name, mode and content. u-root's
// functions StaticFile, Symlink, Directory and CharDev make them, and [FromFile]
// and [Tree] do from files on disk. Content must be safe to read concurrently.
type File = cpio.Record

// An Archive is an ordered, complete set of files and the bytes they make. It is
// immutable and safe for concurrent use as far as the content of its files is.
type Archive struct {
	records []File  // the last is the trailer
	offsets []int64 // of each record's header
	size    int64
}

// New checks and orders files. Names are paths from the root of the file
// system, a leading slash is optional. In the result
//
//   - entries are sorted by name, every parent comes before its children, and
//     parents that are missing are added with mode 0755;
//   - time stamps, owners and device numbers of the source are zero, link
//     counts are 1 (2 for a directory) and inode numbers count from 1.
//
// It is an error if two files have one name, if a file lies below one that is
// no directory, or if the format or the kernel's reader cannot hold an entry.
func New(files []File) (*Archive, error) {
	byName := make(map[string]File, len(files))
	for _, f := range files {
		f, err := clean(f)
		if err != nil {
			return nil, err
		}
		if _, dup := byName[f.Name]; dup {
			return nil, fmt.Errorf("archive %s: two files have this name", f.Name)
		}
		byName[f.Name] = f
	}
	if err := addParents(byName); err != nil {
		return nil, err
	}
	if len(byName) > MaxFiles {
		return nil, fmt.Errorf("archive: %d files, at most %d are possible", len(byName), MaxFiles)
	}

	a := &Archive{records: make([]File, 0, len(byName)+1)}
	for _, f := range byName {
		a.records = append(a.records, f)
	}
	slices.SortFunc(a.records, func(x, y File) int { return strings.Compare(x.Name, y.Name) })
	a.records = append(a.records, File{Info: cpio.Info{Name: cpio.Trailer}})
	a.offsets = make([]int64, len(a.records))
	for i := range a.records {
		r := &a.records[i]
		if r.Name != cpio.Trailer {
			r.Ino = uint64(i + 1)
		}
		a.offsets[i] = a.size
		a.size += headSize(r.Name) + round4(int64(r.FileSize))
	}
	return a, nil
}

// clean returns f with everything removed that depends on where it came from.
func clean(f File) (File, error) {
	name := cpio.Normalize(f.Name)
	switch {
	case name == "." || name == ".." || strings.HasPrefix(name, "../"):
		return f, fmt.Errorf("archive %q: not a path below the root", f.Name)
	case name == cpio.Trailer:
		return f, fmt.Errorf("archive %q: the name ends a cpio archive", f.Name)
	case len(name) >= pathMax:
		return f, fmt.Errorf("archive %q...: name of %d bytes, the kernel takes %d", name[:32], len(name), pathMax-1)
	case strings.ContainsRune(name, 0):
		return f, fmt.Errorf("archive %q: name holds a zero byte", f.Name)
	}

	info := cpio.Info{Name: name, Mode: f.Mode & (cpio.S_IFMT | 0o7777), NLink: 1}
	content := f.ReaderAt
	switch f.Mode & cpio.S_IFMT {
	case cpio.S_IFREG:
		info.FileSize = f.FileSize
	case cpio.S_IFLNK:
		info.FileSize = f.FileSize
		if f.FileSize == 0 || f.FileSize >= pathMax {
			return f, fmt.Errorf("archive %s: link target of %d bytes, the kernel takes 1 to %d", name, f.FileSize, pathMax-1)
		}
	case cpio.S_IFDIR:
		info.NLink, content = 2, nil
	case cpio.S_IFCHR, cpio.S_IFBLK:
		info.Rmajor, info.Rminor, content = f.Rmajor, f.Rminor, nil
	case cpio.S_IFIFO:
		content = nil
	default:
		return f, fmt.Errorf("archive %s: mode %#o is no type of file a ramdisk can hold", name, f.Mode)
	}
	if info.FileSize > math.MaxUint32 {
		return f, fmt.Errorf("archive %s: %d bytes, the format holds files below 4 GiB", name, f.FileSize)
	}
	if info.FileSize > 0 && content == nil {
		return f, fmt.Errorf("archive %s: %d bytes but no content", name, f.FileSize)
	}
	return File{ReaderAt: content, Info: info}, nil
}

// addParents adds the directories that byName lacks: the kernel drops a file
// whose directory does not exist.
func addParents(byName map[string]File) error {
	var missing []string
	added := make(map[string]bool)
	for name := range byName {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if added[dir] {
				break
			}
			if parent, ok := byName[dir]; ok {
				if parent.Mode&cpio.S_IFMT != cpio.S_IFDIR {
					return fmt.Errorf("archive %s: its parent %s is no directory", name, dir)
				}
				break
			}
			added[dir] = true
			missing = append(missing, dir)
			if len(missing) > MaxFiles {
				return fmt.Errorf("archive: more than %d directories", MaxFiles)
			}
		}
	}
	for _, dir := range missing {
		d := cpio.Directory(dir, 0o755)
		d.NLink = 2
		byName[dir] = d
	}
	return nil
}

// Size is the number of bytes of the archive, a multiple of 4, so that archives
// can be put one behind the other as the kernel expects them.
func (a *Archive) Size() int64 { return a.size }

// Records are the entries in the order in which they are written, without the
// trailer. The caller does not modify them.
func (a *Archive) Records() []File { return a.records[:len(a.records)-1] }

// Section is the archive as a reader with a size, which is what a Spec of
// package eif takes.
func (a *Archive) Section() *io.SectionReader { return io.NewSectionReader(a, 0, a.size) }

// Write writes files as one archive, see [New] for its form.
func Write(w io.Writer, files []File) error {
	a, err := New(files)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, a.Section())
	return err
}
