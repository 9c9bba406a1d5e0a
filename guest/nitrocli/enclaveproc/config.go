package enclaveproc

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/guest/enclaves"
)

// A Config is what the process has of the world. The zero value, with
// SocketsDir, is this machine.
type Config struct {
	// SocketsDir is where the process puts its socket. It must exist.
	SocketsDir string

	// System starts enclaves; nil is the kernel.
	System enclaves.System
	// Root is where the files of the kernel are looked for, "" for /.
	Root string
	// Listen opens the port on which the enclave reports that it has booted;
	// nil is vsock.
	Listen func(cid, port uint32) (Listener, error)
	// PeerUID tells who is at the other end of a connection; nil asks the
	// kernel.
	PeerUID func(*net.UnixConn) (uint32, error)
	// Now is the time that certificates are compared with; nil is the clock.
	Now func() time.Time
	// Log is where the process writes what nobody is there to read; nil
	// discards it.
	Log *slog.Logger
}

// A Listener is a net.Listener one can stop waiting for, such as
// [vsock.Listener].
type Listener interface {
	net.Listener
	SetDeadline(time.Time) error
}

func (c Config) withDefaults() Config {
	if c.System == nil {
		c.System = enclaves.Linux{}
	}
	if c.Root == "" {
		c.Root = "/"
	}
	if c.Listen == nil {
		c.Listen = func(cid, port uint32) (Listener, error) { return vsock.ListenContextID(cid, port, nil) }
	}
	if c.PeerUID == nil {
		c.PeerUID = peerUID
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// file is a file of the kernel, by its absolute path.
func (c *Config) file(path string) string { return filepath.Join(c.Root, path) }

// peerUID asks the kernel.
func peerUID(conn *net.UnixConn) (uint32, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, os.NewSyscallError("getsockopt", failed)
	}
	return cred.Uid, nil
}
