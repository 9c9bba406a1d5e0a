package eventfd

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

var (
	// ErrNotEvent means that a descriptor cannot be waited for, as a regular file
	// cannot: it would always be readable.
	ErrNotEvent = errors.New("cannot be waited for")

	// ErrStopped is the result of a wait that Stop ended.
	ErrStopped = errors.New("stopped")
)

// A Listener is an eventfd that the other side writes.
type Listener struct{ file *os.File }

// NewListener takes ownership of fd, also on error. name is for error messages.
func NewListener(fd int, name string) (*Listener, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	l := &Listener{os.NewFile(uintptr(fd), name)}
	if err := l.file.SetReadDeadline(time.Time{}); err != nil {
		l.Close()
		return nil, fmt.Errorf("%s %w", name, ErrNotEvent)
	}
	return l, nil
}

// Wait blocks until the next notification; several in a row count as one.
func (l *Listener) Wait(buf *[8]byte) error {
	n, err := l.file.Read(buf[:])
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrStopped
	case err != nil:
		return err
	case n != len(buf):
		return fmt.Errorf("%s %w: read %d bytes", l.file.Name(), ErrNotEvent, n)
	}
	return nil
}

// Stop ends the present wait and every later one until Resume.
func (l *Listener) Stop() { _ = l.file.SetReadDeadline(time.Unix(1, 0)) }

// Resume undoes Stop.
func (l *Listener) Resume() { _ = l.file.SetReadDeadline(time.Time{}) }

// Close gives up the descriptor. Nobody waits any more.
func (l *Listener) Close() { _ = l.file.Close() }
