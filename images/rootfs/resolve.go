package rootfs

import (
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/initramfs"
)

// maxLinks is how many symbolic links a path may go through, as in Linux.
const maxLinks = 40

// dir walks to a directory, following symbolic links inside the tree. With
// create missing directories are made.
func (t *Tree) dir(parts []string, create bool) (*node, error) {
	n, err := t.walk(parts, create)
	if err != nil {
		return nil, err
	}
	if !n.isDir() {
		return nil, ErrNotDirectory
	}
	return n, nil
}

// walk resolves a path, all symbolic links included, as a process whose root
// directory is the tree's would: no path leaves it.
func (t *Tree) walk(parts []string, create bool) (*node, error) {
	todo := parts
	trail := []*node{t.root} // the directories from the root to here
	links := 0
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		here := trail[len(trail)-1]
		if !here.isDir() {
			return nil, ErrNotDirectory
		}
		switch name {
		case "", ".":
			continue
		case "..":
			if len(trail) > 1 {
				trail = trail[:len(trail)-1]
			}
			continue
		}
		next := here.children[name]
		if next == nil {
			if !create {
				return nil, ErrNotFound
			}
			next = newDir(0)
			// The name may come from the target of a link.
			if _, err := initramfs.SplitName(name); err != nil {
				return nil, err
			}
			if err := t.set(here, name, next); err != nil {
				return nil, err
			}
		}
		if !next.isSymlink() {
			trail = append(trail, next)
			continue
		}
		if links++; links > maxLinks {
			return nil, ErrLoop
		}
		target := strings.Split(next.target, "/")
		if strings.HasPrefix(next.target, "/") {
			trail = trail[:1]
		}
		todo = append(target, todo...)
	}
	return trail[len(trail)-1], nil
}

// Lookup finds the file that path leads to for a process inside: relative to
// the root, all symbolic links followed. The name of the result is path as
// given. Errors are [*PathError].
func (t *Tree) Lookup(path string) (cpio.Record, error) {
	n, err := t.walk(strings.Split(path, "/"), false)
	if err != nil {
		return cpio.Record{}, &PathError{Path: path, Err: err}
	}
	return n.at(path), nil
}
