package guard

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// SocketPair returns two connected unix stream sockets, both closed on exec. The
// first is for the owner to use; the second is for a child to inherit, by
// Config.Files, after which the owner closes its copy. No name in the file
// system is involved, so there is nothing to collide with or to leave behind.
func SocketPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	remote := os.NewFile(uintptr(fds[1]), "socketpair")
	f := os.NewFile(uintptr(fds[0]), "socketpair")
	conn, err := net.FileConn(f) // works on a duplicate
	_ = f.Close()
	if err != nil {
		_ = remote.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), remote, nil
}
