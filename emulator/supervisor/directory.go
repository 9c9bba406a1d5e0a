package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nitrolab/nitrolab/emulator/guard"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

// longestSocket is what a socket in a state directory adds to the path of the
// base, and maxSocketPath what sun_path holds without its terminator.
const (
	longestSocket = len("/host-0123456789abcdef.state/" + socketName)
	maxSocketPath = 107
)

// BaseDir is where the state directories of this user's enclaves are:
// $XDG_RUNTIME_DIR/nitrolab, else "run" in the cache folder, or a folder under
// the temporary directory if that path is too long for a socket. It is made if
// missing, and refused if somebody else could write there.
func BaseDir() (string, error) {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if filepath.IsAbs(dir) {
		dir = filepath.Join(dir, "nitrolab")
	} else {
		cache, err := toolchain.CacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(cache, "run")
	}
	if len(dir)+longestSocket > maxSocketPath {
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("nitrolab-%d", os.Getuid()))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make state directory: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("check state directory: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(owner.Uid) != os.Getuid() || info.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("state directory %s is not a directory that only you can write; remove it or set XDG_RUNTIME_DIR", dir)
	}
	return dir, nil
}

// describeTimeout bounds how long one supervisor may take to answer a list.
const describeTimeout = 10 * time.Second

// List describes every running enclave of this user. What a killed supervisor
// left behind is removed on the way.
func List(ctx context.Context, base string) ([]Running, error) {
	if _, err := guard.Sweep(base); err != nil {
		return nil, err
	}
	sockets, err := filepath.Glob(filepath.Join(base, "*", socketName))
	if err != nil {
		return nil, err
	}
	list := []Running{}
	for _, s := range sockets {
		c := newClient(filepath.Dir(s))
		ctx, cancel := context.WithTimeout(ctx, describeTimeout)
		d, err := c.Describe(ctx)
		cancel()
		if err != nil {
			if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, ctx.Err()
			}
			continue // it ended while we looked
		}
		list = append(list, Running{Client: c, Description: d})
	}
	return list, nil
}

// Running is one enclave of a [List].
type Running struct {
	*Client
	Description
}

// Find returns the running enclave with this id or, if id is empty, this name.
func Find(ctx context.Context, base, id, name string) (Running, error) {
	list, err := List(ctx, base)
	if err != nil {
		return Running{}, err
	}
	var found []Running
	for _, r := range list {
		if id != "" && r.Enclave.EnclaveID == id || id == "" && r.Enclave.EnclaveName == name {
			found = append(found, r)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Running{}, fmt.Errorf("enclave name is %q, which %d running enclaves have; use --enclave-id", name, len(found))
	case id != "":
		return Running{}, fmt.Errorf("enclave id is %q; %w (nitrolab describe-enclaves lists them)", id, ErrNotFound)
	}
	return Running{}, fmt.Errorf("enclave name is %q; %w (nitrolab describe-enclaves lists them)", name, ErrNotFound)
}

// ErrNotFound says that no running enclave has the id or the name.
var ErrNotFound = errors.New("no enclave that runs has it")
