// Package eventfd has the two ends of an eventfd as device models use them: one
// that signals and one that is waited for.
package eventfd

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// A Signal is an eventfd that this side writes, such as an interrupt. The zero value
// has no descriptor and signals nothing. All methods may be called concurrently.
type Signal struct {
	mu   sync.Mutex // held while fd is written, so that it is not closed then
	fd   int
	open bool // fd is a descriptor of ours
}

// Set replaces the descriptor and takes ownership of fd, also on error; -1 means
// none. On error the old one stays.
func (s *Signal) Set(fd int) error {
	if fd >= 0 {
		// A full eventfd must not block the device; QEMU's are nonblocking anyway.
		if err := unix.SetNonblock(fd, true); err != nil {
			_ = unix.Close(fd)
			return fmt.Errorf("eventfd: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		_ = unix.Close(s.fd) // nothing is buffered
	}
	s.fd, s.open = fd, fd >= 0
	return nil
}

// Close gives up the descriptor.
func (s *Signal) Close() { _ = s.Set(-1) }

// one is what is added to the counter of an eventfd.
var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// Raise signals once. It reports whether there was a descriptor to do so.
func (s *Signal) Raise() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return false, nil
	}
	for {
		switch _, err := unix.Write(s.fd, one); {
		case err == nil, errors.Is(err, unix.EAGAIN):
			// EAGAIN: the counter is at its maximum, so the peer has not yet
			// looked at earlier ones and will see this one with them.
			return true, nil
		case !errors.Is(err, unix.EINTR):
			return true, fmt.Errorf("eventfd: %w", err)
		}
	}
}
