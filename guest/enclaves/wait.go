package enclaves

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Wait waits for EPOLLHUP, which the driver raises on the enclave's descriptor
// once its device has reported that the enclave changed state by itself
// (ne_enclave_poll in ne_misc_dev.c).
func (v *vm) Wait(ctx context.Context) error {
	conn, err := v.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("wait for enclave: %w", err)
	}
	switch err := v.file.SetReadDeadline(time.Time{}); {
	case errors.Is(err, os.ErrNoDeadline): // a descriptor without poll
		return fmt.Errorf("wait for enclave: %w", err)
	case err != nil:
		// The poller has this one other error, and its name is internal.
		return fmt.Errorf("wait for enclave: %w", os.ErrClosed)
	}
	stop := context.AfterFunc(ctx, func() {
		// A past deadline wakes the poller. It fails on a closed file, which
		// has woken it already.
		_ = v.file.SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()

	var failed error
	err = conn.Read(func(fd uintptr) (done bool) {
		var hungUp bool
		hungUp, failed = pollHangUp(int(fd))
		return hungUp || failed != nil
	})
	switch {
	case ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded):
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("wait for enclave: %w", os.ErrClosed)
	case failed != nil:
		return fmt.Errorf("wait for enclave: poll: %w", failed)
	}
	return nil
}

// pollHangUp asks, without waiting, whether fd has hung up.
func pollHangUp(fd int) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd)}}
	for {
		_, err := unix.Poll(fds, 0)
		if err == unix.EINTR {
			continue
		}
		return fds[0].Revents&unix.POLLHUP != 0, err
	}
}
