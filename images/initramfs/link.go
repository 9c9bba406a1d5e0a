package initramfs

import (
	"fmt"

	"github.com/u-root/u-root/pkg/cpio"
)

// A fileID is what tells files of a source apart, as in the kernel's own reader
// (init/initramfs.c, find_link).
type fileID struct{ major, minor, ino uint64 }

// number sets inode numbers and link counts, which until now say what they were
// in the source, and moves the content of a file to its first name.
func number(records []File) error {
	first := make(map[fileID]int)
	others := make(map[int][]int) // by first name: the further names of the file
	further := make(map[int]bool)
	for i := range records {
		r := &records[i]
		if !canLink(r) {
			continue
		}
		id := fileID{r.Major, r.Minor, r.Ino}
		if f, ok := first[id]; ok {
			others[f], further[i] = append(others[f], i), true
		} else {
			first[id] = i
		}
	}
	var ino uint64
	for i := range records {
		if further[i] {
			continue // done with the first name
		}
		r := &records[i]
		if canLink(r) {
			if err := join(records, i, others[i]); err != nil {
				return err
			}
		}
		ino++
		r.Ino, r.NLink, r.Major, r.Minor = ino, uint64(1+len(others[i])), 0, 0
		if r.Mode&cpio.S_IFMT == cpio.S_IFDIR {
			r.NLink = 2
		}
		for _, j := range others[i] {
			o := &records[j]
			o.Ino, o.NLink, o.Major, o.Minor = r.Ino, r.NLink, 0, 0
		}
	}
	return nil
}

// canLink reports whether a record may be one of several names of a file.
// Directories cannot, and the kernel makes each symbolic link anew.
func canLink(r *File) bool {
	t := r.Mode & cpio.S_IFMT
	return r.NLink > 1 && r.Ino != 0 && t != cpio.S_IFDIR && t != cpio.S_IFLNK
}

// join makes the names of one file agree: content is at the first one, whose
// inode the kernel creates.
func join(records []File, first int, others []int) error {
	f := &records[first]
	for _, i := range others {
		o := &records[i]
		if o.Mode != f.Mode || o.UID != f.UID || o.GID != f.GID || o.Rmajor != f.Rmajor || o.Rminor != f.Rminor {
			return fmt.Errorf("archive: %.200q and %.200q are one file and have different mode, owner or device number", f.Name, o.Name)
		}
		if o.FileSize > 0 {
			if f.FileSize > 0 {
				return fmt.Errorf("archive: %.200q and %.200q are one file and both have content", f.Name, o.Name)
			}
			f.ReaderAt, f.FileSize = o.ReaderAt, o.FileSize
		}
		o.ReaderAt, o.FileSize = nil, 0
	}
	if f.Mode&cpio.S_IFMT == cpio.S_IFREG && f.FileSize == 0 && uint64(1+len(others)) < f.NLink {
		return fmt.Errorf("archive %.200q: hard link without content, which may be at a name that is missing here", f.Name)
	}
	return nil
}
