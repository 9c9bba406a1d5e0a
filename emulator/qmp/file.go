package qmp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// maxFiles is how many descriptors QEMU takes with one message
// (TCP_MAX_FDS in chardev/char-socket.c).
const maxFiles = 16

// errNoFiles is a caller's mistake: nothing was written.
var errNoFiles = errors.New("cannot pass files")

// SendFile gives QEMU a copy of f under a name that later commands use where
// they take "fd:NAME" or an fdname (command getfd, qapi/misc.json).
func (c *Client) SendFile(ctx context.Context, name string, f *os.File) error {
	args := struct {
		Name string `json:"fdname"`
	}{name}
	return c.ExecuteFiles(ctx, "getfd", args, nil, f)
}

// writeFiles writes line with the files' descriptors attached to its first
// byte.
func writeFiles(conn net.Conn, line []byte, files []*os.File) (int, error) {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("%w: the connection is no unix socket", errNoFiles)
	}
	if len(files) > maxFiles {
		return 0, fmt.Errorf("%w: %d at once, at most %d", errNoFiles, len(files), maxFiles)
	}
	fds := make([]int, 0, len(files))
	for _, f := range files {
		raw, err := f.SyscallConn()
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errNoFiles, err)
		}
		if err := raw.Control(func(fd uintptr) { fds = append(fds, int(fd)) }); err != nil {
			return 0, fmt.Errorf("%w: %w", errNoFiles, err)
		}
	}
	n, _, err := uc.WriteMsgUnix(line, unix.UnixRights(fds...), nil)
	runtime.KeepAlive(files)
	if err != nil || n == len(line) {
		return n, err
	}
	m, err := uc.Write(line[n:])
	return n + m, err
}
