package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
)

// processCommand makes this program the process of an enclave. It is for spawn,
// not for people.
const processCommand = "enclave-process"

// inheritedFD is where that process finds its end of the socket pair.
const inheritedFD = 3

// spawn starts this program again as the process of an enclave: in a session of
// its own, with nothing of the terminal, and with one end of the returned
// connection.
func spawn() (*net.UnixConn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, failure.Wrap(failure.SocketPairCreationFailure, os.NewSyscallError("socketpair", err))
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "nitro-cli"), os.NewFile(uintptr(fds[1]), "enclave process")
	defer theirs.Close()
	conn, err := unixConn(ours)
	if err != nil {
		return nil, failure.Wrap(failure.SocketPairCreationFailure, err)
	}
	cmd := exec.Command("/proc/self/exe", processCommand)
	cmd.Args[0] = os.Args[0]
	cmd.ExtraFiles = []*os.File{theirs} // becomes inheritedFD
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(failure.Wrap(failure.ProcessSpawnFailure, err), conn.Close())
	}
	// It outlives this process, and nobody here waits for it.
	if err := cmd.Process.Release(); err != nil {
		return nil, errors.Join(failure.Wrap(failure.ProcessSpawnFailure, err), conn.Close())
	}
	return conn, nil
}

// inherited is the connection that spawn passed on.
func inherited() (*net.UnixConn, error) {
	conn, err := unixConn(os.NewFile(inheritedFD, "nitro-cli"))
	if err != nil {
		return nil, fmt.Errorf("no connection at descriptor %d: %w", inheritedFD, err)
	}
	return conn, nil
}

// unixConn makes a connection of f, which it closes.
func unixConn(f *os.File) (*net.UnixConn, error) {
	c, err := net.FileConn(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("not a unix socket"), c.Close())
	}
	return conn, nil
}
