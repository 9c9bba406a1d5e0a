package vhostuser

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A signal is an eventfd that this side writes: the interrupt (call) or the
// error descriptor of a ring. The zero value has no descriptor and signals
// nothing. It may be replaced while others signal.
type signal struct {
	mu   sync.Mutex // held while fd is written, so that it is not closed then
	fd   int
	open bool // fd is a descriptor of ours
}

// set replaces the descriptor and takes ownership of fd; -1 means none.
func (s *signal) set(fd int) error {
	if fd >= 0 {
		// A full eventfd must not block the device; QEMU's are nonblocking
		// anyway.
		if err := unix.SetNonblock(fd, true); err != nil {
			_ = unix.Close(fd)
			return fmt.Errorf("%w: %w", ErrDescriptors, err)
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

// close gives up the descriptor.
func (s *signal) close() { _ = s.set(-1) }

// one is what is added to the counter of an eventfd.
var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// raise signals once.
func (s *signal) raise() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return nil
	}
	for {
		switch _, err := unix.Write(s.fd, one); {
		case err == nil, errors.Is(err, unix.EAGAIN):
			// EAGAIN: the counter is at its maximum, so the peer has not yet
			// looked at earlier ones and will see this one with them.
			return nil
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("eventfd: %w", err)
		}
	}
}

// errNotEvent means that a kick descriptor cannot be waited for, as a regular
// file cannot: it would always be readable.
var errNotEvent = errors.New("cannot be waited for")

// A kick is an eventfd that the front-end writes when the driver notified.
type kick struct{ file *os.File }

// newKick takes ownership of fd, also on error.
func newKick(fd int) (*kick, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("%w: %w", ErrDescriptors, err)
	}
	k := &kick{os.NewFile(uintptr(fd), "vhost-user kick")}
	if err := k.file.SetReadDeadline(time.Time{}); err != nil {
		k.close()
		return nil, fmt.Errorf("%w: kick %w", ErrDescriptors, errNotEvent)
	}
	return k, nil
}

// errStopped is the result of a wait that stop ended.
var errStopped = errors.New("stopped")

// wait blocks until the next notification; several in a row count as one.
func (k *kick) wait(buf *[8]byte) error {
	n, err := k.file.Read(buf[:])
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errStopped
	case err != nil:
		return fmt.Errorf("kick: %w", err)
	case n != len(buf):
		return fmt.Errorf("kick: %w: read %d bytes", errNotEvent, n)
	}
	return nil
}

// stop ends the present wait and every later one until resume.
func (k *kick) stop() { _ = k.file.SetReadDeadline(time.Unix(1, 0)) }

// resume undoes stop.
func (k *kick) resume() { _ = k.file.SetReadDeadline(time.Time{}) }

func (k *kick) close() { _ = k.file.Close() }
