// Package rootfs holds the file tree of a root filesystem in memory, names and
// metadata only, until package initramfs makes a ramdisk of it.
//
// Nothing is ever unpacked on the host: a tree is filled from image layers, a
// host directory or single files, paths are resolved inside the tree, and file
// contents stay where they are until the ramdisk is read. So a hostile layer
// can neither reach the host through "..", absolute names or symbolic links,
// nor create device nodes or set-user-id files on it.
package rootfs
