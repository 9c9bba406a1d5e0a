package files

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Serve does one copy for a client and says whether it was done. It returns when
// the client has been told, or is gone.
func Serve(conn io.ReadWriter) error {
	f := &framer{rw: conn}
	var req request
	if err := f.readJSON(&req); err != nil {
		return err
	}
	err := checkPath(req.Path)
	switch {
	case err != nil:
	case req.Op == opPut:
		err = put(f, filepath.Clean(req.Path), req.Mode)
	case req.Op == opGet:
		return get(f, req.Path)
	default:
		err = &fs.PathError{Op: "request", Path: req.Path, Err: syscall.ENOSYS}
	}
	return errors.Join(err, f.writeJSON(resultOf(err)))
}

func checkPath(path string) error {
	if !filepath.IsAbs(path) || len(path) > maxPath || strings.ContainsRune(path, 0) {
		return &fs.PathError{Op: "path", Path: path, Err: syscall.EINVAL}
	}
	return nil
}

// put receives a file beside its place and then moves it there.
func put(f *framer, path string, mode uint32) (err error) {
	var suffix [8]byte
	_, _ = rand.Read(suffix[:])
	temp := filepath.Join(filepath.Dir(path), ".nitrolab-"+hex.EncodeToString(suffix[:]))
	file, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp))
		}
	}()
	err = f.receive(file)
	if err == nil {
		err = file.Chmod(fileMode(mode))
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := syscall.Rename(temp, path); err != nil {
		return &fs.PathError{Op: "rename", Path: path, Err: err}
	}
	return nil
}

// get sends a file. Without O_NONBLOCK it would wait for a FIFO's writer.
func get(f *framer, path string) error {
	file, mode, err := open(path)
	if err != nil {
		return errors.Join(err, f.writeJSON(resultOf(err)))
	}
	defer file.Close()
	if err := f.writeJSON(result{Mode: mode}); err != nil {
		return err
	}
	err = f.send(file)
	if source := (sourceError{}); errors.As(err, &source) {
		// The data has to end before its result.
		return errors.Join(err, f.write(0), f.writeJSON(resultOf(err)))
	}
	if err != nil {
		return err
	}
	return f.writeJSON(result{})
}

// open opens what has an end: a regular file, those of /proc and /sys included, or
// a block device.
func open(path string) (*os.File, uint32, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil {
		switch t := info.Mode().Type(); {
		case t == 0, t == fs.ModeDevice:
			return file, permissions(info.Mode()), nil
		case t.IsDir():
			err = &fs.PathError{Op: "open", Path: path, Err: syscall.EISDIR}
		default:
			err = &fs.PathError{Op: "open", Path: path, Err: syscall.EINVAL}
		}
	}
	return nil, 0, errors.Join(err, file.Close())
}
