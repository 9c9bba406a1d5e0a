package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/emulator/guestagent"
)

// guestDir is where relative paths of a guest begin, as its shells and commands do.
const guestDir = "/"

// A localFile is a file of this machine on its way into a guest.
type localFile struct{ local, guest string }

// parseFiles reads LOCAL:GUEST. What is not there is found before anything starts.
func parseFiles(texts []string) ([]localFile, error) {
	var files []localFile
	for _, text := range texts {
		at := strings.LastIndex(text, ":/")
		if at < 1 {
			return nil, usagef("--file is %q; allowed is LOCAL:GUEST, where GUEST is an absolute path", text)
		}
		f := localFile{text[:at], text[at+1:]}
		if strings.HasSuffix(f.guest, "/") {
			f.guest += filepath.Base(f.local)
		}
		src, _, err := openLocal(f.local)
		if err != nil {
			return nil, fmt.Errorf("--file: %w", err)
		}
		src.Close()
		files = append(files, f)
	}
	return files, nil
}

// put copies the file, into a folder that is made if need be.
func (f localFile) put(ctx context.Context, client *guestagent.Client) error {
	src, mode, err := openLocal(f.local)
	if err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	defer src.Close()
	if _, err := client.Output(ctx, "mkdir -p -- "+quote(path.Dir(f.guest))); err != nil {
		return fmt.Errorf("--file: make the folder of %s: %w", f.guest, err)
	}
	return client.Put(ctx, f.guest, mode, src)
}

// openLocal opens a regular file.
func openLocal(name string) (*os.File, fs.FileMode, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Mode().Perm(), nil
}

// copyIn copies a file of this machine, or standard input, into a guest.
func copyIn(ctx context.Context, stdin io.Reader, source string, destination place) error {
	src, mode := stdin, fs.FileMode(0o644)
	if source != "-" {
		f, perm, err := openLocal(source)
		if err != nil {
			return err
		}
		defer f.Close()
		src, mode = f, perm
	}
	return destination.withAgent(ctx, func(client *guestagent.Client) error {
		to := absolute(destination.path)
		folder := strings.HasSuffix(destination.path, "/")
		if !folder {
			kind, err := guestStat(ctx, client, to)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			folder = err == nil && kind.IsDir()
		}
		switch {
		case folder && source == "-":
			return usagef("%s is a folder; standard input needs the name of a file", to)
		case folder:
			to = path.Join(to, filepath.Base(source))
		}
		return client.Put(ctx, to, mode, src)
	})
}

// copyOut copies a file of a guest to one of this machine, or to standard output.
func copyOut(ctx context.Context, stdout io.Writer, source place, destination string) error {
	if info, err := os.Stat(destination); destination != "-" && (err == nil && info.IsDir() || strings.HasSuffix(destination, "/")) {
		destination = filepath.Join(destination, path.Base(absolute(source.path)))
	}
	return source.withAgent(ctx, func(client *guestagent.Client) error {
		from := absolute(source.path)
		if destination == "-" {
			return client.Get(ctx, from, stdout)
		}
		mode, err := guestStat(ctx, client, from)
		if err != nil {
			return err
		}
		if mode.IsDir() {
			return fmt.Errorf("%s is a folder; nitrolab shell %s -c 'tar c %[1]s' | tar x copies one", from, source.guest)
		}
		return writeWhole(destination, mode.Perm(), func(w io.Writer) error { return client.Get(ctx, from, w) })
	})
}

// withAgent connects to the agent of the guest.
func (p place) withAgent(ctx context.Context, do func(*guestagent.Client) error) error {
	r, err := resolveOne(ctx, p.guest)
	if err != nil {
		return err
	}
	client, err := connectAgent(ctx, r)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := do(client); errors.Is(err, guestagent.ErrLost) {
		return fmt.Errorf("%s ended: %w", &r.Description, err)
	} else if err != nil {
		return err
	}
	return nil
}

func absolute(p string) string {
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	return path.Join(guestDir, p)
}

// guestStat is what kind of file a path of the guest is, and its permissions.
func guestStat(ctx context.Context, client *guestagent.Client, name string) (fs.FileMode, error) {
	out, err := client.Output(ctx, "stat -L -c %f -- "+quote(name))
	var exit *guestagent.ExitError
	if errors.As(err, &exit) {
		if strings.Contains(string(exit.Stderr), "No such file") {
			return 0, fmt.Errorf("%s in the guest: %w", name, fs.ErrNotExist)
		}
		return 0, fmt.Errorf("look at %s in the guest: %s", name, printableLine(exit.Stderr))
	}
	if err != nil {
		return 0, err
	}
	raw, err := strconv.ParseUint(strings.TrimSpace(string(out)), 16, 32)
	if err != nil {
		return 0, fmt.Errorf("look at %s in the guest: the answer is %.40q", name, out)
	}
	mode := fs.FileMode(raw & 0o777)
	if raw&unix.S_IFMT == unix.S_IFDIR {
		mode |= fs.ModeDir
	}
	return mode, nil
}

// quote makes text one word of a shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// writeWhole writes a file, which appears whole or not at all. What is there and is
// not a file, such as a device, is written to.
func writeWhole(name string, mode fs.FileMode, write func(io.Writer) error) (err error) {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".nitrolab-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(write(f), f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
