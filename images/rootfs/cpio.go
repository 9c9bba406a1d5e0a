package rootfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"path"
	"slices"

	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"
)

// blockSize is what an archive is filled up to with zeros, as GNU cpio does. A
// kernel finds an uncompressed archive behind another one only at a multiple of
// 4 bytes.
const blockSize = 512

// Entries yields all entries but the root, sorted by name within each
// directory, parents before their children. Path is from the root of the tree.
func (t *Tree) Entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		t.root.each("", func(path string, n *node) bool {
			e := n.Entry
			e.Path = path
			return yield(e)
		})
	}
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

// An Archive writes trees as one cpio archive in the newc format, the one Linux
// unpacks. The bytes depend on the trees alone: times are 0, inode numbers
// count from 1 in order of writing. File contents are streamed.
type Archive struct {
	buf     *bufio.Writer
	counter *counter
	cpio    cpio.RecordWriter
	names   map[string]bool
	ino     uint64
}

// NewArchive writes to w. The caller must call Close for a complete archive.
func NewArchive(w io.Writer) *Archive {
	c := &counter{w: w}
	buf := bufio.NewWriterSize(c, 256<<10)
	return &Archive{buf: buf, counter: c, cpio: cpio.Newc.Writer(buf), names: make(map[string]bool)}
}

// AddTree writes t below the directory prefix, whose metadata are those of the
// root of t; without prefix the root is left out. Files with several names are
// written as hard links, with the content at the first one.
func (a *Archive) AddTree(ctx context.Context, prefix string, t *Tree) error {
	links := make(map[*inode]*hardLink)
	t.root.each("", func(_ string, n *node) bool {
		if !n.IsDir() && !n.IsSymlink() {
			if links[n.inode] == nil {
				links[n.inode] = &hardLink{}
			}
			links[n.inode].names++
		}
		return true
	})
	if prefix != "" {
		if err := a.write(ctx, prefix, t.root.inode, nil); err != nil {
			return err
		}
	}
	var err error
	t.root.each(prefix, func(path string, n *node) bool {
		err = a.write(ctx, path, n.inode, links[n.inode])
		return err == nil
	})
	return err
}

// A hardLink counts the names of an inode in one tree.
type hardLink struct {
	names uint64
	ino   uint64 // once the first name is written
}

// write writes one record.
func (a *Archive) write(ctx context.Context, path string, n *inode, link *hardLink) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if path == cpio.Trailer {
		return &PathError{Path: path, Err: errors.New("name is the end mark of a cpio archive")}
	}
	// u-root's writer leaves out a second record of a name without a word.
	if a.names[path] {
		return &PathError{Path: path, Err: errors.New("name is in the archive already")}
	}
	a.names[path] = true
	rec := cpio.Record{Info: cpio.Info{
		Name: path, Mode: uint64(n.Mode), UID: uint64(n.UID), GID: uint64(n.GID), NLink: 1,
	}}
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		rec = cpio.Symlink(path, n.Target)
		rec.Mode, rec.UID, rec.GID, rec.NLink = uint64(n.Mode), uint64(n.UID), uint64(n.GID), 1
	case unix.S_IFCHR, unix.S_IFBLK:
		rec.Rmajor, rec.Rminor = uint64(n.Major), uint64(n.Minor)
	}
	again := false
	if link != nil {
		rec.NLink = link.names
		again = link.ino != 0
	}
	if again {
		rec.Ino = link.ino
	} else {
		a.ino++
		rec.Ino = a.ino
		if link != nil {
			link.ino = a.ino
		}
	}
	if n.IsRegular() && n.Size > 0 && !again {
		r, err := n.Content.Open()
		if err != nil {
			return &PathError{Path: path, Err: err}
		}
		if c, ok := r.(io.Closer); ok {
			defer func() { err = errors.Join(err, c.Close()) }()
		}
		// The writer closes a ReaderAt it can close; this one it cannot.
		rec.ReaderAt, rec.FileSize = contextReader{ctx, r}, uint64(n.Size)
	}
	if err := a.cpio.WriteRecord(rec); err != nil {
		return fmt.Errorf("rootfs: write %q: %w", clip(path), err)
	}
	return nil
}

// Close ends the archive and fills it up to a multiple of 512 bytes. It does not
// close the writer below.
func (a *Archive) Close() error {
	if err := cpio.WriteTrailer(a.cpio); err != nil {
		return fmt.Errorf("rootfs: write trailer: %w", err)
	}
	if err := a.buf.Flush(); err != nil {
		return fmt.Errorf("rootfs: write: %w", err)
	}
	if over := a.counter.n % blockSize; over != 0 {
		if _, err := a.counter.Write(make([]byte, blockSize-over)); err != nil {
			return fmt.Errorf("rootfs: write: %w", err)
		}
	}
	return nil
}

// counter counts the bytes written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// contextReader fails once its context has ended.
type contextReader struct {
	ctx context.Context
	io.ReaderAt
}

func (c contextReader) ReadAt(p []byte, off int64) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.ReaderAt.ReadAt(p, off)
}
