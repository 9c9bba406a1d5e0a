package rootfs

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"golang.org/x/sys/unix"
)

// What an entry may have at most. The numbers are those of the kernel that
// unpacks the archive (init/initramfs.c skips longer names and targets without
// a word; tmpfs refuses longer components) and of the newc format, whose fields
// have 32 bits.
const (
	// MaxName bounds one path component, in bytes (NAME_MAX).
	MaxName = 255
	// MaxPath bounds a path from the root of the tree, in bytes. PATH_MAX is
	// 4096 with a NUL; the rest is room for a prefix such as "rootfs/".
	MaxPath = 4000
	// MaxTarget bounds the target of a symbolic link, in bytes.
	MaxTarget = 4095
	// MaxFile bounds a regular file, in bytes.
	MaxFile = math.MaxUint32
)

// A Content is where the bytes of a regular file are.
type Content interface {
	// Open returns the bytes. The result is closed after use if it is an
	// io.Closer. Open may be called more than once.
	Open() (io.ReaderAt, error)
}

// An Entry is one file of a tree.
type Entry struct {
	// Path is relative to the root of the tree, with slashes. A leading slash,
	// "." and empty components mean nothing; ".." is refused.
	Path string
	// Mode is the Linux st_mode: one type and permissions with set-user-id,
	// set-group-id and sticky bits.
	Mode uint32
	UID  uint32
	GID  uint32
	// Major and Minor are the number of a device node.
	Major uint32
	Minor uint32
	// Target is where a symbolic link points. It is kept as it is.
	Target string
	// Size and Content are those of a regular file. Content may be nil if Size
	// is 0.
	Size    int64
	Content Content
}

// IsDir reports whether the entry is a directory.
func (e Entry) IsDir() bool { return e.Mode&unix.S_IFMT == unix.S_IFDIR }

// IsRegular reports whether the entry is a regular file.
func (e Entry) IsRegular() bool { return e.Mode&unix.S_IFMT == unix.S_IFREG }

// IsSymlink reports whether the entry is a symbolic link.
func (e Entry) IsSymlink() bool { return e.Mode&unix.S_IFMT == unix.S_IFLNK }

// A PathError says what is wrong with one entry.
type PathError struct {
	Path string
	Err  error
}

// Error names the entry and the fault.
func (e *PathError) Error() string { return fmt.Sprintf("rootfs: %q: %v", clip(e.Path), e.Err) }

// Unwrap returns the fault.
func (e *PathError) Unwrap() error { return e.Err }

// clip shortens a path for a message: hostile ones can have megabytes.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

// Faults of entries and paths, for errors.Is.
var (
	// ErrDotDot is a ".." in the name of an entry.
	ErrDotDot = errors.New("name has a \"..\"")
	// ErrNotDirectory is a path that goes through something else.
	ErrNotDirectory = errors.New("a parent is not a directory")
	// ErrLoop is a path through too many symbolic links.
	ErrLoop = errors.New("too many symbolic links")
	// ErrNotFound is a path that leads nowhere.
	ErrNotFound = errors.New("no such file in the root filesystem")
	// ErrTooMany is more entries or bytes than the limits allow.
	ErrTooMany = errors.New("root filesystem is too large")
)

// check checks everything but the path.
func (e Entry) check() error {
	switch e.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if e.Size < 0 || e.Size > MaxFile {
			return fmt.Errorf("file has %d bytes, a cpio archive allows at most %d", e.Size, int64(MaxFile))
		}
		if e.Size > 0 && e.Content == nil {
			return errors.New("file has no content")
		}
	case unix.S_IFLNK:
		if n := len(e.Target); n == 0 || n > MaxTarget {
			return fmt.Errorf("target of the symbolic link has %d bytes, allowed are 1 to %d", n, MaxTarget)
		}
		if strings.ContainsRune(e.Target, 0) {
			return errors.New("target of the symbolic link has a NUL")
		}
	case unix.S_IFDIR, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK:
	default:
		return fmt.Errorf("file type is %#o, which does not exist", e.Mode&unix.S_IFMT)
	}
	if e.Mode&^(unix.S_IFMT|0o7777) != 0 {
		return fmt.Errorf("mode is %#o, which has more than type and permissions", e.Mode)
	}
	return nil
}

// components splits the path of an entry. The root gives none.
func components(path string) ([]string, error) {
	var parts []string
	for c := range strings.SplitSeq(path, "/") {
		switch {
		case c == "" || c == ".":
			continue
		case c == "..":
			return nil, ErrDotDot
		case len(c) > MaxName:
			return nil, fmt.Errorf("name has a component of %d bytes, allowed are at most %d", len(c), MaxName)
		case strings.ContainsRune(c, 0):
			return nil, errors.New("name has a NUL")
		}
		parts = append(parts, c)
	}
	return parts, nil
}
