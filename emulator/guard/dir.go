package guard

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// baseLock is the file in a base directory that whoever makes or sweeps state
// directories holds for a moment: between its creation and its lock a new
// directory looks like a leftover.
const baseLock = ".lock"

// stateName is what names of state directories look like; Sweep touches no
// other.
var stateName = regexp.MustCompile(`^[A-Za-z0-9_-]+-[0-9a-f]{16}\.state$`)

// A Dir is a directory that does not outlive its owner. While the owner lives
// the directory is locked (flock); when the owner ends without Close, a guard
// process removes it. If that was killed too, the directory lies there
// unlocked, for [Sweep].
type Dir struct {
	path  string
	lock  *os.File // the directory itself, open and locked
	guard *Process // only its spawn half is used

	once sync.Once
	err  error
}

// open pins every Dir that is neither closed nor kept. If its owner forgot it,
// the garbage collector would close its socket, and the guard would take that
// for the owner's end.
var open sync.Map // of *Dir

// TempDir makes a new directory below base, which is made too if it is missing.
// prefix consists of letters, digits, '-' and '_'.
func TempDir(base, prefix string) (*Dir, error) {
	base, err := filepath.Abs(base)
	if err != nil {
		return nil, fmt.Errorf("guard: state directory: %w", err)
	}
	var suffix [8]byte
	_, _ = rand.Read(suffix[:]) // never fails
	name := prefix + "-" + hex.EncodeToString(suffix[:]) + ".state"
	if !stateName.MatchString(name) {
		return nil, fmt.Errorf("guard: state directory: prefix %q has other characters than letters, digits, - and _", prefix)
	}
	d := &Dir{path: filepath.Join(base, name)}
	if err := d.make(base); err != nil {
		return nil, fmt.Errorf("guard: state directory: %w", err)
	}
	d.guard = &Process{}
	if err := d.guard.spawn(roleDir, &spec{Remove: []string{d.path}}, Config{}); err != nil {
		_ = d.lock.Close()
		_ = os.Remove(d.path)
		return nil, fmt.Errorf("guard: state directory: %w", err)
	}
	open.Store(d, nil)
	return d, nil
}

// make creates and locks the directory.
func (d *Dir) make(base string) error {
	if err := os.MkdirAll(base, 0o700); err != nil {
		return err
	}
	unlock, err := lockBase(base)
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.Mkdir(d.path, 0o700); err != nil {
		return err
	}
	if d.lock, err = tryLock(d.path); err != nil {
		_ = os.Remove(d.path)
		return err
	}
	return nil
}

// Path is where it is, absolute.
func (d *Dir) Path() string { return d.path }

// Close removes the directory and all in it. It may be called more than once.
func (d *Dir) Close() error {
	return d.end(func() error { return os.RemoveAll(d.path) })
}

// Keep ends the guard and leaves the directory, for a person to look at. A later
// Sweep removes it, unless it has been renamed.
func (d *Dir) Keep() error {
	return d.end(func() error { return nil })
}

func (d *Dir) end(do func() error) error {
	d.once.Do(func() {
		defer open.Delete(d)
		err := do()
		if keepErr := d.guard.command(cmdKeep, 0); err == nil {
			err = keepErr
		}
		_ = d.guard.control.Close()
		_ = d.guard.cmd.Wait() // ends at once: it has its command, or was killed
		_ = d.lock.Close()
		if err != nil {
			d.err = fmt.Errorf("guard: state directory: %w", err)
		}
	})
	return d.err
}

// runDir waits for the owner's end and removes the directory unless told not
// to.
func runDir(sp *spec, n int) {
	keep := false
	<-waitEOF(controlFD(n), func(b []byte) { keep = keep || b[0] == cmdKeep })
	if !keep {
		removePaths(sp.Remove)
	}
}

// Sweep removes the state directories below base that no living owner holds, and
// returns their names. Directories of other users, and whatever does not look
// like a state directory, are left alone. A base that does not exist is empty.
func Sweep(base string) (removed []string, err error) {
	if _, err := os.Stat(base); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	locks, err := lockLeftovers(base)
	if err != nil {
		return nil, fmt.Errorf("guard: sweep: %w", err)
	}
	var errs []error
	for _, lock := range locks {
		if err := os.RemoveAll(lock.Name()); err != nil {
			errs = append(errs, fmt.Errorf("guard: sweep: %w", err))
		} else {
			removed = append(removed, filepath.Base(lock.Name()))
		}
		_ = lock.Close()
	}
	return removed, errors.Join(errs...)
}

// lockLeftovers takes over every state directory below base without an owner.
func lockLeftovers(base string) ([]*os.File, error) {
	unlock, err := lockBase(base)
	if err != nil {
		return nil, err
	}
	defer unlock()
	entries, err := os.ReadDir(base)
	if err != nil {
		return nil, err
	}
	var locks []*os.File
	for _, e := range entries {
		if !e.IsDir() || !stateName.MatchString(e.Name()) {
			continue
		}
		lock, err := tryLock(filepath.Join(base, e.Name()))
		if err != nil {
			continue // its owner lives, or it is not ours
		}
		locks = append(locks, lock)
	}
	return locks, nil
}

// lockBase takes the lock of a base directory. It is held for file operations
// only, so waiting for it has no deadline but a generous one.
func lockBase(base string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(base, baseLock), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR || time.Now().After(deadline) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		time.Sleep(removeRetry)
	}
}

// tryLock opens and locks a directory of this user, without waiting.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil {
		if sys, ok := st.Sys().(*syscall.Stat_t); ok && int(sys.Uid) != os.Geteuid() {
			err = os.ErrPermission
		}
	}
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil {
		// Its owner may have removed it after it was opened here.
		var now os.FileInfo
		if now, err = os.Lstat(path); err == nil && !os.SameFile(st, now) {
			err = os.ErrNotExist
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}
