package eif

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// BuildFile is [Build] into the named file. The file appears whole or not at
// all; one that is there already is replaced.
func BuildFile(name string, spec Spec) (Measurements, error) {
	var m Measurements
	err := replaceFile(name, func(w io.WriteSeeker) (err error) {
		m, err = Build(w, spec)
		return err
	})
	if err != nil {
		return Measurements{}, err
	}
	return m, nil
}

// SignFile is [Sign] from the file src into the file dst, which may be the
// same. dst changes whole or not at all.
func SignFile(dst, src string, signer *Signer) (Measurements, error) {
	im, err := OpenFile(src)
	if err != nil {
		return Measurements{}, err
	}
	defer im.Close()
	var m Measurements
	err = replaceFile(dst, func(w io.WriteSeeker) (err error) {
		m, err = Sign(w, im.Image, signer)
		return err
	})
	if err != nil {
		return Measurements{}, err
	}
	return m, nil
}

// replaceFile lets fill write a temporary file next to name and renames it to
// name if that went well, else removes it.
func replaceFile(name string, fill func(io.WriteSeeker) error) (err error) {
	// A rename onto /dev/stdout or a socket would replace it by a file.
	if fi, err := os.Stat(name); err == nil && !fi.Mode().IsRegular() {
		return fmt.Errorf("eif: write %s: not a regular file", name)
	}
	temp := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+"."+rand.Text()[:8])
	// Not os.CreateTemp: its mode 0600 ignores the umask.
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return fmt.Errorf("eif: write %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp))
		}
	}()
	if err := fill(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("eif: write %s: %w", name, err)
	}
	if err := os.Rename(temp, name); err != nil {
		return fmt.Errorf("eif: write %s: %w", name, err)
	}
	return nil
}
