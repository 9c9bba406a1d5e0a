package rootfs

import (
	"errors"
	"fmt"

	"github.com/nitrolab/nitrolab/images/initramfs"
)

// Faults of files and paths, for errors.Is.
var (
	// ErrDotDot is a ".." in the name of a file.
	ErrDotDot = initramfs.ErrDotDot
	// ErrNotDirectory is a path that goes through something else.
	ErrNotDirectory = errors.New("a parent is not a directory")
	// ErrLoop is a path through too many symbolic links.
	ErrLoop = errors.New("too many symbolic links")
	// ErrNotFound is a path that leads nowhere.
	ErrNotFound = errors.New("no such file in the root filesystem")
	// ErrTooMany is more files or bytes than the limits allow.
	ErrTooMany = errors.New("root filesystem is too large")
)

// A PathError says what is wrong with one file.
type PathError struct {
	Path string
	Err  error
}

// Error names the file and the fault.
func (e *PathError) Error() string { return fmt.Sprintf("rootfs: %.200q: %v", e.Path, e.Err) }

// Unwrap returns the fault.
func (e *PathError) Unwrap() error { return e.Err }
