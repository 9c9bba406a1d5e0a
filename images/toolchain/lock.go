package toolchain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is how often a waiting process looks whether the lock is free. The
// kernel can wait by itself, but not also for a context.
const lockPoll = 50 * time.Millisecond

// lock takes the lock of the cache, for everything that changes it. It waits,
// and says for whom, until ctx ends.
//
// It is a flock(2) on an open file, which the tools that work for this process
// inherit: it ends when the last of them does, not when this process is killed
// while apt goes on writing.
func lock(ctx context.Context, name string, note func(string)) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock cache: %w", err)
	}
	fail := func(err error) (*os.File, error) {
		return nil, errors.Join(fmt.Errorf("lock cache: %w", err), f.Close())
	}
	told := false
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fail(err)
		}
		if !told {
			told = true
			note(fmt.Sprintf("waiting for another nitrolab (process %s) that works on the tool chain", holder(f)))
		}
		select {
		case <-ctx.Done():
			return fail(context.Cause(ctx))
		case <-tick.C:
		}
	}
	// Only told to those who wait, so no harm if it fails.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(fmt.Sprintf("%d\n", os.Getpid())), 0)
	}
	return f, nil
}

// holder gives the process that wrote its number into the lock file.
func holder(f *os.File) string {
	var b [32]byte
	n, _ := f.ReadAt(b[:], 0)
	pid := strings.TrimSpace(string(b[:n]))
	if pid == "" || strings.Trim(pid, "0123456789") != "" {
		return "unknown"
	}
	return pid
}
