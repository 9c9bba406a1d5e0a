package enclaveproc

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
)

// SocketSuffix is how names of sockets end.
const SocketSuffix = ".sock"

// SocketPath is the socket of the process that looks after an enclave: the slot
// in hexadecimal in the sockets directory. An ID that would lead out of the
// directory is an error.
func SocketPath(dir, enclaveID string) (string, error) {
	slot := enclaveID
	if i := strings.LastIndex(enclaveID, idSeparator); i >= 0 {
		slot = enclaveID[i+len(idSeparator):]
	}
	if slot == "" || slot == "." || slot == ".." || strings.ContainsAny(slot, "/\x00") {
		return "", fmt.Errorf("enclave ID is %q, which is none", enclaveID)
	}
	return filepath.Join(dir, slot+SocketSuffix), nil
}

// idSeparator stands between instance and slot in an enclave's ID.
const idSeparator = "-enc"

// A socket is where clients find the process.
type socket struct {
	listener *net.UnixListener
	gone     chan struct{} // closed if somebody else removes the file
	watch    *os.File      // inotify
	watching chan struct{} // closed when the watch is over

	closeOnce sync.Once
	closeErr  error
}

// listen opens the socket. One that is left of a process that died is replaced.
func listen(dir, enclaveID string) (_ *socket, err error) {
	path, err := SocketPath(dir, enclaveID)
	if err != nil {
		return nil, failure.Wrap(failure.SocketPathNotFound, err)
	}
	addr := &net.UnixAddr{Name: path, Net: "unix"}
	l, err := net.ListenUnix("unix", addr)
	if errors.Is(err, unix.EADDRINUSE) {
		if conn, dialErr := net.DialUnix("unix", nil, addr); dialErr == nil {
			_ = conn.Close()
		} else if errors.Is(dialErr, unix.ECONNREFUSED) && os.Remove(path) == nil {
			l, err = net.ListenUnix("unix", addr)
		}
	}
	if err != nil {
		return nil, failure.Wrap(failure.SocketError, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	// Who may do what is decided by the user at the other end.
	if err := os.Chmod(path, 0o766); err != nil {
		return nil, failure.Wrap(failure.FilePermissionsError, err)
	}
	s := &socket{listener: l, gone: make(chan struct{}), watching: make(chan struct{})}
	if s.watch, err = watchFile(path); err != nil {
		return nil, failure.Wrap(failure.InotifyError, err)
	}
	go s.awaitRemoval(path)
	return s, nil
}

// watchFile is an inotify descriptor that has something to read when the number
// of links of the file changes.
func watchFile(path string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_ATTRIB|unix.IN_DELETE_SELF); err != nil {
		return nil, errors.Join(os.NewSyscallError("inotify_add_watch", err), f.Close())
	}
	return f, nil
}

// awaitRemoval closes gone if the file goes away before the watch is closed. A
// process that nobody can reach could not be told to end its enclave.
func (s *socket) awaitRemoval(path string) {
	defer close(s.watching)
	events := make([]byte, 4096)
	for {
		if _, err := s.watch.Read(events); err != nil {
			return
		}
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			close(s.gone)
			return
		}
	}
}

// close removes the socket, and no more clients come. A second call does
// nothing.
func (s *socket) close() error {
	s.closeOnce.Do(func() {
		err := s.watch.Close()
		<-s.watching
		s.closeErr = errors.Join(err, s.listener.Close())
	})
	return s.closeErr
}
