package initramfs

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
)

// What a file may have at most. The numbers are those of the kernel that unpacks
// the archive (init/initramfs.c skips longer names and targets without a word;
// tmpfs refuses longer components) and of the format, whose fields have 32 bits.
const (
	// MaxName bounds one component of a name, in bytes (NAME_MAX).
	MaxName = 255
	// MaxPath bounds a name, in bytes (PATH_MAX with its NUL).
	MaxPath = 4095
	// MaxTarget bounds the target of a symbolic link, in bytes.
	MaxTarget = 4095
	// MaxFile bounds a regular file, in bytes.
	MaxFile = math.MaxUint32
)

// ErrDotDot is a ".." in the name of a file.
var ErrDotDot = errors.New("name has a \"..\"")

// SplitName splits the name of a file into its components. Slashes at either end,
// empty components and "." mean nothing; ".." is refused, and so is a component
// that no file system holds. The root has no components.
func SplitName(name string) ([]string, error) {
	var parts []string
	for c := range strings.SplitSeq(name, "/") {
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

// Check says why no archive can hold f, whatever its name.
func Check(f File) error {
	switch f.Mode & cpio.S_IFMT {
	case cpio.S_IFREG:
		if f.FileSize > MaxFile {
			return fmt.Errorf("file has %d bytes, a cpio archive allows at most %d", f.FileSize, int64(MaxFile))
		}
		if f.FileSize > 0 && f.ReaderAt == nil {
			return errors.New("file has no content")
		}
		// What is in memory knows its size; a disagreement is found early.
		if c, ok := f.ReaderAt.(interface{ Size() int64 }); ok && c.Size() != int64(f.FileSize) {
			return fmt.Errorf("content has %d bytes, the size of the file is %d", c.Size(), f.FileSize)
		}
	case cpio.S_IFLNK:
		if _, err := Target(f); err != nil {
			return err
		}
	case cpio.S_IFDIR, cpio.S_IFCHR, cpio.S_IFBLK, cpio.S_IFIFO, cpio.S_IFSOCK:
	default:
		return fmt.Errorf("file type is %#o, which does not exist", f.Mode&cpio.S_IFMT)
	}
	if f.Mode&^(cpio.S_IFMT|0o7777) != 0 {
		return fmt.Errorf("mode is %#o, which has more than type and permissions", f.Mode)
	}
	for _, n := range []struct {
		what  string
		value uint64
	}{{"owner", f.UID}, {"group", f.GID}, {"major device number", f.Rmajor}, {"minor device number", f.Rminor}} {
		if n.value > math.MaxUint32 {
			return fmt.Errorf("%s is %d, allowed are 0 to %d", n.what, n.value, uint32(math.MaxUint32))
		}
	}
	return nil
}

// Target reads where the symbolic link f points.
func Target(f File) (string, error) {
	if f.FileSize == 0 || f.FileSize > MaxTarget {
		return "", fmt.Errorf("target of the symbolic link has %d bytes, allowed are 1 to %d", f.FileSize, MaxTarget)
	}
	if f.ReaderAt == nil {
		return "", errors.New("symbolic link has no content, which is its target")
	}
	b := make([]byte, f.FileSize)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return "", fmt.Errorf("target of the symbolic link: %w", err)
	}
	if strings.ContainsRune(string(b), 0) {
		return "", errors.New("target of the symbolic link has a NUL")
	}
	return string(b), nil
}

// clean returns f as it is written, but for what [number] sets.
func clean(f File) (File, error) {
	parts, err := SplitName(f.Name)
	if err != nil {
		return f, err
	}
	name := strings.Join(parts, "/")
	switch {
	case name == "":
		return f, errors.New("name is not below the root")
	case name == cpio.Trailer:
		return f, errors.New("name is the end mark of a cpio archive")
	case len(name) > MaxPath:
		return f, fmt.Errorf("path has %d bytes, allowed are at most %d", len(name), MaxPath)
	}
	if err := Check(f); err != nil {
		return f, err
	}
	out := File{Info: cpio.Info{Name: name, Mode: f.Mode, UID: f.UID, GID: f.GID}}
	switch f.Mode & cpio.S_IFMT {
	case cpio.S_IFREG, cpio.S_IFLNK:
		out.ReaderAt, out.FileSize = f.ReaderAt, f.FileSize
	case cpio.S_IFCHR, cpio.S_IFBLK:
		out.Rmajor, out.Rminor = f.Rmajor, f.Rminor
	}
	// Which of them are names of one file.
	out.Ino, out.NLink, out.Major, out.Minor = f.Ino, f.NLink, f.Major, f.Minor
	return out, nil
}
