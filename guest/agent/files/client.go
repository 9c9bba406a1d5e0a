package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Put writes r to the file at path, an absolute one, in the guest: as a whole or
// not at all. A file that is there is replaced, and so is a symbolic link; the
// folder must be there. Files that must not be replaced but written to, such as
// those of /proc and /sys, are for a command.
//
// conn is at its beginning, and of no use after. Closing it ends Put, and Put
// closes it when r fails. r may be read a little further than is used, by a
// goroutine that ends with the next Read.
func Put(conn io.ReadWriteCloser, path string, mode fs.FileMode, r io.Reader) error {
	f := &framer{rw: conn}
	if err := f.writeJSON(request{opPut, path, permissions(mode)}); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		err := f.send(r)
		if source := (sourceError{}); errors.As(err, &source) {
			failed <- source.error
			_ = conn.Close() // so that the result does not come
		}
		// An error of conn is one of its reader too, or there is a result.
	}()
	var res result
	err := f.readJSON(&res)
	select {
	case err := <-failed:
		return err
	default:
	}
	if err != nil {
		return err
	}
	return res.err()
}

// Get writes the file at path, an absolute one, in the guest to w. It says what
// permissions the file has. What the guest sends has no bound but w's.
func Get(conn io.ReadWriteCloser, path string, w io.Writer) (fs.FileMode, error) {
	f := &framer{rw: conn}
	if err := f.writeJSON(request{Op: opGet, Path: path}); err != nil {
		return 0, err
	}
	var first, last result
	if err := f.readJSON(&first); err != nil {
		return 0, err
	}
	if err := first.err(); err != nil {
		return 0, err
	}
	err := f.receive(w)
	if source := (sourceError{}); errors.As(err, &source) {
		return 0, source.error
	}
	if err == nil {
		err = f.readJSON(&last)
	}
	if err != nil {
		return 0, fmt.Errorf("receive: %w", err)
	}
	return fileMode(first.Mode), last.err()
}
