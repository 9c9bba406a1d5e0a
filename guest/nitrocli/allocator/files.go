package allocator

import (
	"io/fs"
	"os"
	"path/filepath"
)

// Files are the files of the kernel, by their absolute paths.
type Files interface {
	ReadFile(path string) ([]byte, error)
	// WriteFile writes to a file that is there, in one call.
	WriteFile(path string, data []byte) error
	ReadDir(path string) ([]fs.DirEntry, error)
}

// Root is the files below a directory of the system.
type Root string

var _ Files = Root("/")

// ReadFile reads a whole file.
func (r Root) ReadFile(path string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(r), path))
}

// WriteFile writes a file that is there.
func (r Root) WriteFile(path string, data []byte) error {
	f, err := os.OpenFile(filepath.Join(string(r), path), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		_ = f.Close() // the write has said what is wrong
		return err
	}
	return f.Close()
}

// ReadDir lists a directory.
func (r Root) ReadDir(path string) ([]fs.DirEntry, error) {
	return os.ReadDir(filepath.Join(string(r), path))
}
