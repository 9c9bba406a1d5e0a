package rootfs

import (
	"errors"
	"iter"
	"maps"
	"path"
	"slices"

	"github.com/u-root/u-root/pkg/cpio"
)

// AddRecords adds files to t as [Tree.Add] does, with owner and group 0: who made
// the records must not show in a measurement. A record that is a hard link to the
// content of another one is refused.
func (t *Tree) AddRecords(records []cpio.Record) error {
	for _, r := range records {
		if r.NLink > 1 && r.FileSize == 0 && r.Mode&cpio.S_IFMT == cpio.S_IFREG {
			return &PathError{Path: r.Name, Err: errors.New("hard link without content")}
		}
		r.UID, r.GID = 0, 0
		if err := t.Add(r); err != nil {
			return err
		}
	}
	return nil
}

// Entries yields all files but the root, sorted by name within each directory,
// parents before their children, with their path from the root as the name.
func (t *Tree) Entries() iter.Seq[cpio.Record] {
	return func(yield func(cpio.Record) bool) {
		t.root.each("", func(path string, n *node) bool {
			return yield(n.at(path))
		})
	}
}

// Records returns all files as package initramfs takes them, below the directory
// prefix, whose metadata are those of the root of t; without prefix the root is
// left out. A file with several names has a record for each, with the content at
// one of them.
func (t *Tree) Records(prefix string) []cpio.Record {
	names := make(map[*inode]uint64)
	t.root.each("", func(_ string, n *node) bool {
		names[n.inode]++
		return true
	})
	records := make([]cpio.Record, 0, t.entries+1)
	if prefix != "" {
		records = append(records, t.root.at(prefix))
	}
	links := make(map[*inode]uint64) // inode numbers of those with several names
	t.root.each(prefix, func(path string, n *node) bool {
		r := n.at(path)
		if r.NLink = names[n.inode]; r.NLink > 1 {
			if r.Ino = links[n.inode]; r.Ino != 0 && n.isRegular() {
				r.ReaderAt, r.FileSize = nil, 0
			} else if r.Ino == 0 {
				r.Ino = uint64(len(links) + 1)
				links[n.inode] = r.Ino
			}
		}
		records = append(records, r)
		return true
	})
	return records
}

// each calls f for everything below n, sorted.
func (n *node) each(at string, f func(string, *node) bool) bool {
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		child, p := n.children[name], path.Join(at, name)
		if !f(p, child) || !child.each(p, f) {
			return false
		}
	}
	return true
}
