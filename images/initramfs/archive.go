// Package initramfs writes the ramdisks of an enclave image: cpio archives in
// the "newc" format (Linux Documentation/driver-api/early-userspace/
// buffer-format.rst) which are the same to the byte whenever the files are the
// same, because the digest of a ramdisk is part of PCR0.
//
// Files are records of u-root's cpio package. An [Archive] orders and completes
// them; it holds no content itself, so that an image of gigabytes is measured
// and written in constant memory, from any place and as often as wanted.
package initramfs

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
)

// MaxFiles bounds the number of entries of one archive, those created for
// missing parents included. A full distribution has about 10^5.
const MaxFiles = 1 << 21

// A File is one file of an archive: its name, mode, owner and content. u-root's
// functions StaticFile, Symlink, Directory and CharDev make them. Content must be
// safe to read concurrently; it is read as often as the archive is and never
// closed.
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
//     parents that are missing are added with mode 0755 and owner 0;
//   - time stamps and device numbers of the source are zero, and inode numbers
//     count from 1 in the order of the entries. Owners are kept: for files of
//     this machine the caller sets them to 0, or who owns them is measured;
//   - files with one inode number, and a link count above 1 that says the number
//     means something, are names of one file (hard links). The first of them has
//     the content, whichever had it before. Link counts are the number of names
//     here, and 2 for a directory.
//
// It is an error if two files have one name, if a file lies below one that is
// no directory, if a name of a file comes without its content, or if [Check] or
// [SplitName] refuses a file.
func New(files []File) (*Archive, error) {
	if len(files) > MaxFiles {
		return nil, fmt.Errorf("archive: %d files, at most %d are possible", len(files), MaxFiles)
	}
	records := make([]File, 0, len(files)+1)
	for _, f := range files {
		r, err := clean(f)
		if err != nil {
			return nil, fmt.Errorf("archive %.200q: %w", f.Name, err)
		}
		records = append(records, r)
	}
	sortByName(records)
	missing, err := missingParents(records)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		records = append(records, missing...)
		sortByName(records)
	}
	if err := number(records); err != nil {
		return nil, err
	}
	a := &Archive{records: append(records, File{Info: cpio.Info{Name: cpio.Trailer}})}
	a.offsets = make([]int64, len(a.records))
	for i := range a.records {
		r := &a.records[i]
		a.offsets[i] = a.size
		a.size += headSize(r.Name) + round4(int64(r.FileSize))
	}
	return a, nil
}

func sortByName(records []File) {
	slices.SortFunc(records, func(x, y File) int { return strings.Compare(x.Name, y.Name) })
}

// missingParents returns the directories that the sorted records lack: the kernel
// drops a file whose directory does not exist.
func missingParents(records []File) ([]File, error) {
	var missing []File
	isDir := make(map[string]bool, len(records))
	for i := range records {
		name := records[i].Name
		if i > 0 && records[i-1].Name == name {
			return nil, fmt.Errorf("archive %.200q: two files have this name", name)
		}
		isDir[name] = records[i].Mode&cpio.S_IFMT == cpio.S_IFDIR
		// A parent that is there came before: its name is the shorter one.
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if is, ok := isDir[dir]; ok {
				if !is {
					return nil, fmt.Errorf("archive %.200q: its parent %.200q is no directory", name, dir)
				}
				break
			}
			isDir[dir] = true
			missing = append(missing, cpio.Directory(dir, 0o755))
			if len(records)+len(missing) > MaxFiles {
				return nil, fmt.Errorf("archive: with missing directories more than the %d files that are possible", MaxFiles)
			}
		}
	}
	return missing, nil
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
