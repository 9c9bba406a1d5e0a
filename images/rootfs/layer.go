package rootfs

import "github.com/nitrolab/nitrolab/images/initramfs"

// NextLayer begins a layer: from now on [Tree.Whiteout] and [Tree.Opaque]
// remove what was there before this call and leave what is added after it.
func (t *Tree) NextLayer() { t.layer++ }

// Whiteout removes the file at path, with all below it, as far as it comes from
// lower layers (OCI image specification, "Whiteouts": they apply to lower
// layers only, whatever their place in the layer). A path that leads nowhere is
// no error.
func (t *Tree) Whiteout(path string) error {
	parts, err := initramfs.SplitName(path)
	if err != nil {
		return &PathError{Path: path, Err: err}
	}
	if len(parts) == 0 {
		return nil
	}
	dir, err := t.dir(parts[:len(parts)-1], false)
	if err != nil {
		return nil // nothing to remove
	}
	if child := dir.children[parts[len(parts)-1]]; child != nil {
		t.removeLower(dir, parts[len(parts)-1], child)
	}
	return nil
}

// Opaque removes everything in the directory at path that comes from lower
// layers, and keeps the directory.
func (t *Tree) Opaque(path string) error {
	parts, err := initramfs.SplitName(path)
	if err != nil {
		return &PathError{Path: path, Err: err}
	}
	dir, err := t.dir(parts, false)
	if err != nil {
		return nil // nothing to remove
	}
	for name, child := range dir.children {
		t.removeLower(dir, name, child)
	}
	return nil
}

// removeLower removes child from dir as far as it is from lower layers. A lower
// directory that has files of this layer stays, with the metadata of one that
// was made for them.
func (t *Tree) removeLower(dir *node, name string, child *node) {
	for n, c := range child.children {
		t.removeLower(child, n, c)
	}
	switch {
	case child.layer == t.layer:
	case len(child.children) == 0:
		delete(dir.children, name)
		t.entries--
	default:
		child.inode, child.layer = newDir(0).inode, t.layer
	}
}
