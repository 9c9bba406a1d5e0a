package guard

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// UnixListener returns a listening unix socket without a name in the file system,
// and a file that stands for it: while this process has the file as descriptor N,
// any process of the same user connects to /proc/PID/fd/N. It is for programs that
// want a path, like QEMU for vfio-user; where a connected socket will do, see
// [SocketPair].
//
// The socket has a name in dir for a moment, from its creation to its removal: a
// kill -9 between the two leaves it there, so dir is one that goes with its owner
// (see [TempDir]). Its path may be of any length.
func UnixListener(dir string) (_ *net.UnixListener, _ *os.File, err error) {
	// The address of a unix socket holds 108 bytes, which dir alone may exceed;
	// through a descriptor of it the name is short.
	d, err := os.Open(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("guard: unix listener: %w", err)
	}
	defer d.Close()
	own, err := os.MkdirTemp(dir, "listen-")
	if err != nil {
		return nil, nil, fmt.Errorf("guard: unix listener: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(own)) }()
	path := fmt.Sprintf("/proc/self/fd/%d/%s/socket", d.Fd(), filepath.Base(own))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, nil, fmt.Errorf("guard: unix listener: %w", err)
	}
	l.SetUnlinkOnClose(false) // it goes with own
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		_ = l.Close()
		return nil, nil, fmt.Errorf("guard: unix listener: %w", os.NewSyscallError("open", err))
	}
	return l, os.NewFile(uintptr(fd), "unix-listener"), nil
}
