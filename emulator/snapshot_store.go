package emulator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A snapshotStore keeps snapshots in a folder each, named by everything that went
// into them: image, shape of the machine, QEMU. The ones that were not used for
// longest go when there are many.
type snapshotStore struct{ dir string }

// maxSnapshots is how many are kept, of some 100 MB each.
const maxSnapshots = 8

// get opens the snapshot with this key. If there is none, or fresh says that it
// is stale, build makes one in a new folder; of several processes that want it at
// once one builds. The caller closes it.
func (s snapshotStore) get(ctx context.Context, key string, fresh func(*snapshot) error, build func(ctx context.Context, dir string) error) (_ *snapshot, built bool, err error) {
	dir := filepath.Join(s.dir, key)
	open := func() (*snapshot, error) {
		snap, err := readSnapshot(dir)
		if err != nil {
			return nil, err
		}
		if err := fresh(snap); err != nil {
			snap.close()
			return nil, err
		}
		now := time.Now()
		_ = os.Chtimes(dir, now, now) // for prune; a cache that cannot be written is still one
		return snap, nil
	}
	snap, err := open()
	if err == nil {
		return snap, false, nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, false, fmt.Errorf("snapshot: %w", err)
	}
	unlock, err := lockFile(ctx, dir+".lock")
	if err != nil {
		return nil, false, fmt.Errorf("snapshot: %w", err)
	}
	defer unlock()
	if snap, err = open(); err == nil {
		return snap, false, nil // somebody was faster
	}
	if err := s.build(ctx, dir, build); err != nil {
		return nil, false, err
	}
	snap, err = open()
	if err != nil {
		return nil, false, fmt.Errorf("snapshot: %w", err)
	}
	s.prune()
	return snap, true, nil
}

// build makes the folder dir, which appears whole or not at all.
func (s snapshotStore) build(ctx context.Context, dir string, build func(ctx context.Context, dir string) error) (err error) {
	tmp, err := os.MkdirTemp(s.dir, ".snapshot-")
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := build(ctx, tmp); err != nil {
		return err
	}
	if err := discard(dir); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// discard removes a snapshot. Who uses it has it open and is not disturbed.
func discard(dir string) error {
	gone := dir + ".gone"
	if err := os.RemoveAll(gone); err != nil {
		return err
	}
	if err := os.Rename(dir, gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(gone)
}

// prune removes the snapshots that were not used for longest, and what a build
// that was killed left behind. What is in use, or cannot be removed, stays.
func (s snapshotStore) prune() {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	type entry struct {
		path string
		used time.Time
	}
	var all []entry
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() {
			continue
		}
		path := filepath.Join(s.dir, e.Name())
		if e.Name()[0] == '.' {
			if time.Since(info.ModTime()) > time.Hour {
				_ = os.RemoveAll(path)
			}
			continue
		}
		all = append(all, entry{path, info.ModTime()})
	}
	slices.SortFunc(all, func(a, b entry) int { return b.used.Compare(a.used) })
	for _, e := range all[min(maxSnapshots, len(all)):] {
		f, err := os.Open(e.path)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = discard(e.path)
		}
		_ = f.Close()
	}
}

// lockEvery is how often a lock that somebody else holds is asked for.
const lockEvery = 20 * time.Millisecond

// lockFile waits for an exclusive lock. The file stays: removing it would let two
// have it.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}
