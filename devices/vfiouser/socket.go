package vfiouser

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/internal/scm"
)

// Variables for the sake of tests.
var (
	// messageTimeout is how long a message may take from its first byte to its
	// last, and a reply to be accepted, give or take receiveTimeout. QEMU writes
	// a message by one sendmsg, so this only ends connections to peers that do
	// not work.
	messageTimeout = 30 * time.Second

	// receiveTimeout is how often a wait for input looks at the clock.
	receiveTimeout = 10 * time.Second
)

// errGone means that the peer closed the connection where it may.
var errGone = errors.New("peer closed the connection")

// A socket is the connection as a blocking descriptor outside the runtime's poller.
type socket struct {
	fd      int
	sending sync.Mutex // one message at a time
	closed  bool       // with sending
	in      *scm.Receiver
}

// newSocket takes conn over.
func newSocket(conn *net.UnixConn) (_ *socket, err error) {
	defer func() { err = errors.Join(err, conn.Close()) }()
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("vfio-user socket: %w", err)
	}
	fd := -1
	var dupErr error
	err = raw.Control(func(c uintptr) {
		fd, dupErr = unix.FcntlInt(c, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(err, os.NewSyscallError("fcntl", dupErr)); err != nil {
		return nil, fmt.Errorf("vfio-user socket: %w", err)
	}
	s := &socket{fd: fd, in: scm.NewReceiver(maxFDs)}
	if err := s.configure(); err != nil {
		return nil, errors.Join(fmt.Errorf("vfio-user socket: %w", err), s.close())
	}
	return s, nil
}

func (s *socket) configure() error {
	timeout := func(opt int, d time.Duration) error {
		tv := unix.NsecToTimeval(d.Nanoseconds())
		return os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, opt, &tv))
	}
	return errors.Join(
		os.NewSyscallError("fcntl", unix.SetNonblock(s.fd, false)),
		timeout(unix.SO_RCVTIMEO, receiveTimeout),
		timeout(unix.SO_SNDTIMEO, messageTimeout),
	)
}

// linger is how long a read tries again, giving the processor away in between, before
// it sleeps. Messages rarely come alone: a guest that reads a register reads the next,
// and one that posts writes posts many. To find the server asleep costs the sender of
// each a wake-up. Measured with QEMU 11.1.3 under TCG on two cores with a load of 3 to
// 8: posted writes drained in 0.4 to 1.8 us each against 0.9 to 4.6 us without, reads
// in 17 to 40 us (median) against 33 to 57 us. Without giving the processor away it
// helps nobody.
const linger = 30 * time.Microsecond

// errQuiet means that nothing arrived for receiveTimeout.
var errQuiet = errors.New("nothing arrived")

// receive waits for input and reads what there is, at most len(b) bytes. Descriptors
// that come with it are added to fds, up to maxFDs; fdErr says whether some are
// missing. n is 0 at the end of the stream.
//
// Linux ends a read after the first part of a message with descriptors (see
// unix(7), "ancillary data forms a barrier"), so those belong to the message that
// holds the last byte read.
func (s *socket) receive(b []byte, fds *scm.List) (n int, fdErr, err error) {
	n, oob, flags, err := s.in.TryReceive(s.fd, b)
	if err == unix.EAGAIN {
		for began := time.Now(); err == unix.EAGAIN && time.Since(began) < linger; {
			_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // cannot fail
			n, oob, flags, err = s.in.TryReceive(s.fd, b)
		}
	}
	if err == unix.EAGAIN {
		n, oob, flags, err = s.in.Receive(s.fd, b)
	}
	switch err {
	case nil:
		if len(oob) > 0 || flags&unix.MSG_CTRUNC != 0 {
			fdErr = fds.Receive(oob, flags, maxFDs)
		}
		return n, fdErr, nil
	case unix.EAGAIN, unix.EINTR:
		return 0, nil, errQuiet
	case unix.ECONNRESET:
		return 0, nil, nil
	}
	return 0, nil, fmt.Errorf("vfio-user socket: %w", os.NewSyscallError("recvmsg", err))
}

// send writes one message, with the descriptors of oob. The error is errGone if
// nobody reads it.
func (s *socket) send(b, oob []byte) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if s.closed {
		return errGone
	}
	scm.Sending()
	for {
		n, err := unix.SendmsgN(s.fd, b, oob, nil, unix.MSG_NOSIGNAL)
		switch err {
		case nil:
			if b = b[n:]; len(b) == 0 {
				return nil
			}
			oob = nil // they went with the first byte
		case unix.EINTR:
		case unix.EPIPE, unix.ECONNRESET:
			return errGone
		case unix.EAGAIN:
			return fmt.Errorf("%w: peer does not read", ErrTruncated)
		default:
			return fmt.Errorf("vfio-user socket: %w", os.NewSyscallError("sendmsg", err))
		}
	}
}

// shutdown ends every present and later receive and send. It may be called at any
// time before close.
func (s *socket) shutdown() { _ = unix.Shutdown(s.fd, unix.SHUT_RDWR) }

// close gives the descriptor back. Nobody receives any more; whoever sends, in
// another goroutine, fails.
func (s *socket) close() error {
	s.shutdown()
	s.sending.Lock()
	defer s.sending.Unlock()
	s.closed = true
	return os.NewSyscallError("close", unix.Close(s.fd))
}
