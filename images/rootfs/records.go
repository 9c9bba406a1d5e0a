package rootfs

import (
	"errors"

	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"
)

// AddRecords adds u-root's cpio records to t, with owner and group 0. The
// records' readers must stay open for as long as the tree is used. Hard links
// whose content is in another record are refused.
func AddRecords(t *Tree, records []cpio.Record) error {
	for _, r := range records {
		r = cpio.MakeReproducible(r)
		e := Entry{Path: r.Name, Mode: uint32(r.Mode), Major: uint32(r.Rmajor), Minor: uint32(r.Rminor)}
		if r.FileSize > MaxFile {
			return &PathError{Path: r.Name, Err: errors.New("file is larger than a cpio archive allows")}
		}
		switch r.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			if r.NLink > 1 && r.FileSize == 0 {
				return &PathError{Path: r.Name, Err: errors.New("hard link without content")}
			}
			if e.Size = int64(r.FileSize); e.Size > 0 {
				e.Content = ReaderAt{r.ReaderAt}
			}
		case unix.S_IFLNK:
			if r.FileSize > MaxTarget || r.ReaderAt == nil {
				return &PathError{Path: r.Name, Err: errors.New("symbolic link without a usable target")}
			}
			target := make([]byte, r.FileSize)
			if n, err := r.ReadAt(target, 0); n != len(target) {
				return &PathError{Path: r.Name, Err: err}
			}
			e.Target = string(target)
		}
		if err := t.Add(e); err != nil {
			return err
		}
	}
	return nil
}
