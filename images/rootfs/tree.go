package rootfs

import (
	"fmt"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/initramfs"
)

// MaxPath bounds a path from the root of a tree, in bytes: what a ramdisk can
// hold, and room for a prefix such as "rootfs/".
const MaxPath = 4000

// Limits bound what a tree may hold. They protect the host from images that
// expand without end.
type Limits struct {
	// Entries is the number of files, zero for [DefaultEntries].
	Entries int
	// Bytes is how much content may be spooled and how much a layer may expand
	// to, all layers together; zero for [DefaultBytes].
	Bytes int64
}

// Limits that hold every image that could run in an enclave, whose memory must
// be at least four times the size of its image file.
const (
	DefaultEntries = 1 << 20
	DefaultBytes   = 16 << 30
)

// WithDefaults fills in what is zero.
func (l Limits) WithDefaults() Limits {
	if l.Entries == 0 {
		l.Entries = DefaultEntries
	}
	if l.Bytes == 0 {
		l.Bytes = DefaultBytes
	}
	return l
}

// A Tree is a root filesystem. Use [New]. A Tree is not safe for concurrent
// use.
type Tree struct {
	root    *node
	limit   int
	entries int
	layer   int
}

// A node is a name in a directory; hard links are nodes with the same inode.
type node struct {
	*inode
	children map[string]*node // of a directory
	layer    int              // which last set the node
	length   int              // of the path from the root, in bytes
}

// An inode is a file. Its name is not used, a node has it.
type inode struct {
	cpio.Record
	target string // of a symbolic link
}

func (i *inode) isDir() bool     { return i.Mode&cpio.S_IFMT == cpio.S_IFDIR }
func (i *inode) isRegular() bool { return i.Mode&cpio.S_IFMT == cpio.S_IFREG }
func (i *inode) isSymlink() bool { return i.Mode&cpio.S_IFMT == cpio.S_IFLNK }

// at is the file under a name.
func (i *inode) at(name string) cpio.Record {
	r := i.Record
	r.Name = name
	return r
}

// New makes an empty tree: a root directory of mode 0755.
func New(l Limits) *Tree {
	return &Tree{root: newDir(0), limit: l.WithDefaults().Entries}
}

func newDir(length int) *node {
	return &node{inode: &inode{Record: cpio.Directory("", 0o755)}, children: make(map[string]*node), length: length}
}

// Len is the number of entries, without the root.
func (t *Tree) Len() int { return t.entries }

// Add adds a file or replaces the one at its path, as the layers of an image do.
// Of the record the type, permissions, owner, device number and content count;
// content must stay readable for as long as the tree and its records are used. A
// leading slash, "." and empty components of the name mean nothing; ".." is
// refused, and so is what a ramdisk cannot hold, see [initramfs.Check]. Missing
// parents are made with mode 0755. Symbolic links among the parents
// are followed inside the tree: an absolute target starts at its root and ".."
// ends there. A directory over a directory changes its metadata only; anything
// else replaces what was there with all below it.
//
// Errors are [*PathError].
func (t *Tree) Add(r cpio.Record) error {
	if err := t.add(r); err != nil {
		return &PathError{Path: r.Name, Err: err}
	}
	return nil
}

func (t *Tree) add(r cpio.Record) error {
	parts, err := initramfs.SplitName(r.Name)
	if err != nil {
		return err
	}
	file, err := newInode(r)
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		if !file.isDir() {
			return fmt.Errorf("the root must be a directory")
		}
		t.root.inode, t.root.layer = file, t.layer
		return nil
	}
	dir, err := t.dir(parts[:len(parts)-1], true)
	if err != nil {
		return err
	}
	name := parts[len(parts)-1]
	old := dir.children[name]
	if old != nil && old.isDir() && file.isDir() {
		old.inode, old.layer = file, t.layer
		return nil
	}
	n := &node{inode: file}
	if file.isDir() {
		n.children = make(map[string]*node)
	}
	return t.set(dir, name, n)
}

// newInode keeps of a record what belongs to the file.
func newInode(r cpio.Record) (*inode, error) {
	if err := initramfs.Check(r); err != nil {
		return nil, err
	}
	n := &inode{Record: cpio.Record{Info: cpio.Info{
		Mode: r.Mode, UID: r.UID, GID: r.GID, Rmajor: r.Rmajor, Rminor: r.Rminor,
	}}}
	switch {
	case n.isRegular():
		n.ReaderAt, n.FileSize = r.ReaderAt, r.FileSize
	case n.isSymlink():
		target, err := initramfs.Target(r)
		if err != nil {
			return nil, err
		}
		n.target, n.ReaderAt, n.FileSize = target, r.ReaderAt, r.FileSize
	}
	return n, nil
}

// Link makes path another name of the file at target, which must be there and
// must not be a directory. Both are resolved like the path of [Tree.Add].
func (t *Tree) Link(path, target string) error {
	if err := t.link(path, target); err != nil {
		return &PathError{Path: path, Err: err}
	}
	return nil
}

func (t *Tree) link(path, target string) error {
	from, err := initramfs.SplitName(target)
	if err != nil {
		return fmt.Errorf("target of the hard link: %w", err)
	}
	parts, err := initramfs.SplitName(path)
	if err != nil {
		return err
	}
	if len(parts) == 0 || len(from) == 0 {
		return fmt.Errorf("the root can be no hard link")
	}
	fromDir, err := t.dir(from[:len(from)-1], false)
	if err != nil {
		return fmt.Errorf("target %.200q of the hard link: %w", target, err)
	}
	file := fromDir.children[from[len(from)-1]]
	switch {
	case file == nil:
		return fmt.Errorf("target %.200q of the hard link: %w", target, ErrNotFound)
	case file.isDir():
		return fmt.Errorf("target %.200q of the hard link is a directory", target)
	}
	dir, err := t.dir(parts[:len(parts)-1], true)
	if err != nil {
		return err
	}
	return t.set(dir, parts[len(parts)-1], &node{inode: file.inode})
}

// Mkdir makes a directory of mode 0755 unless there is something at path
// already; a symbolic link there is left alone too.
func (t *Tree) Mkdir(path string) error {
	parts, err := initramfs.SplitName(path)
	if err == nil && len(parts) > 0 {
		var dir *node
		dir, err = t.dir(parts[:len(parts)-1], true)
		if err == nil && dir.children[parts[len(parts)-1]] == nil {
			err = t.set(dir, parts[len(parts)-1], newDir(0))
		}
	}
	if err != nil {
		return &PathError{Path: path, Err: err}
	}
	return nil
}

// set puts n into dir in place of what is there.
func (t *Tree) set(dir *node, name string, n *node) error {
	n.layer, n.length = t.layer, dir.length+1+len(name)
	if n.length > MaxPath {
		return fmt.Errorf("path has %d bytes, allowed are at most %d", n.length, MaxPath)
	}
	if old := dir.children[name]; old != nil {
		t.entries -= old.count()
	}
	if t.entries >= t.limit {
		return fmt.Errorf("%w: allowed are %d files", ErrTooMany, t.limit)
	}
	t.entries++
	dir.children[name] = n
	return nil
}

// count is the number of nodes from n down.
func (n *node) count() int {
	c := 1
	for _, child := range n.children {
		c += child.count()
	}
	return c
}
