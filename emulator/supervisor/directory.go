package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// BaseDir is where the state directories of this user's guests are: "nitrolab"
// in $XDG_RUNTIME_DIR, which is looked for in its usual place if the variable is
// missing (sudo and cron drop it), else "run" in the cache folder, or a folder
// under the temporary directory if that path is too long for a socket. It is made
// if missing, and refused if somebody else could write there.
func BaseDir() (string, error) {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		// systemd's pam_systemd(8).
		if usual := filepath.Join("/run/user", strconv.Itoa(os.Getuid())); ownDir(usual) == nil {
			dir = usual
		}
	}
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
	if err := ownDir(dir); err != nil {
		return "", fmt.Errorf("state directory %s %w; remove it or set XDG_RUNTIME_DIR", dir, err)
	}
	return dir, nil
}

// ownDir is nil for a directory of this user that nobody else can write to.
func ownDir(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("cannot be looked at: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return errors.New("is no directory")
	case !ok || int(owner.Uid) != os.Geteuid():
		return errors.New("belongs to another user")
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("has mode %#o, so others can write there", info.Mode().Perm())
	}
	return nil
}

// describeTimeout bounds how long one supervisor may take to answer a list.
const describeTimeout = 10 * time.Second

// Running is one guest of a [List].
type Running struct {
	*Client
	Description
}

// List describes every running guest of this user: the instances and then the
// enclaves, each in the order in which they were started. What a killed supervisor
// left behind is removed on the way. If some supervisors do not answer, stopped by a
// debugger for instance, the error says so and the list has the others.
func List(ctx context.Context, base string) ([]Running, error) {
	return list(ctx, base, describeTimeout)
}

func list(ctx context.Context, base string, timeout time.Duration) ([]Running, error) {
	if _, err := guard.Sweep(base); err != nil {
		return nil, err
	}
	sockets, err := filepath.Glob(filepath.Join(escapeGlob(base), "*", socketName))
	if err != nil {
		return nil, err
	}
	found := make([]Running, len(sockets))
	errs := make([]error, len(sockets))
	var all sync.WaitGroup
	for i, s := range sockets {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			c := newClient(filepath.Dir(s))
			d, err := c.Describe(ctx)
			if err != nil && !errors.Is(err, ErrGone) { // it may end while we look
				errs[i] = fmt.Errorf("ask the supervisor behind %s: %w", s, err)
			}
			if err == nil {
				found[i] = Running{Client: c, Description: d}
			}
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(r Running) bool { return r.Client == nil })
	slices.SortFunc(found, byStart)
	return found, errors.Join(errs...)
}

// byStart is the order of a [List].
func byStart(a, b Running) int {
	switch {
	case a.Instance != nil && b.Instance != nil:
		return cmp.Or(a.Instance.Info.Started.Compare(b.Instance.Info.Started), strings.Compare(a.ID(), b.ID()))
	case a.Instance != nil:
		return -1
	case b.Instance != nil:
		return 1
	}
	return strings.Compare(a.ID(), b.ID()) // which holds the time of its start
}

// Enclaves are the enclaves of a list, without those in instances.
func Enclaves(list []Running) []Running {
	return slices.DeleteFunc(slices.Clone(list), func(r Running) bool { return r.Enclave == nil })
}

// escapeGlob makes a path a pattern that matches it alone.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
