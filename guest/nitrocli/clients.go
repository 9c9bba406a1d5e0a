package nitrocli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nitrolab/nitrolab/guest/nitrocli/enclaveproc"
	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/guest/nitrocli/wire"
)

const (
	// aliveTimeout is how long a process may take to show that it is alive
	// (ENCLAVE_PROC_WAIT_TIMEOUT_MSEC).
	aliveTimeout = 3 * time.Second
	// answerTimeout bounds the wait for what a live process answers. Ending an
	// enclave is the longest: the driver waits two minutes for its device.
	answerTimeout = 150 * time.Second
)

// ensureSocketsDir makes the sockets directory if it is not there. AWS's package
// does that when it is installed.
func (e *Env) ensureSocketsDir() (string, error) {
	dir := e.SocketsDir()
	if err := os.Mkdir(dir, 0o775); err != nil && !errors.Is(err, os.ErrExist) {
		return "", failure.Wrap(failure.ReadFromDiskFailure, err)
	}
	return dir, nil
}

// sockets lists the sockets there are.
func (e *Env) sockets() ([]string, error) {
	dir, err := e.ensureSocketsDir()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, failure.Wrap(failure.ReadFromDiskFailure, err)
	}
	var paths []string
	for _, entry := range entries {
		if !entry.IsDir() && strings.HasSuffix(entry.Name(), enclaveproc.SocketSuffix) {
			paths = append(paths, filepath.Join(dir, entry.Name()))
		}
	}
	return paths, nil
}

// dial connects to a process.
func dial(path string) (*net.UnixConn, error) {
	return net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
}

// connectAll connects to all processes. Sockets of processes that are gone are
// removed; those of other users that let nobody in are passed over.
func (e *Env) connectAll() ([]*net.UnixConn, error) {
	paths, err := e.sockets()
	if err != nil {
		return nil, err
	}
	var conns []*net.UnixConn
	for _, path := range paths {
		conn, err := dial(path)
		switch {
		case err == nil:
			conns = append(conns, conn)
		case errors.Is(err, syscall.ECONNREFUSED):
			_ = os.Remove(path) // stale; whoever may remove it does
		}
	}
	return conns, nil
}

// connect connects to the process of one enclave.
func (e *Env) connect(enclaveID string) (*net.UnixConn, error) {
	path, err := enclaveproc.SocketPath(e.SocketsDir(), enclaveID)
	var conn *net.UnixConn
	if err == nil {
		conn, err = dial(path)
	}
	if err != nil {
		return nil, failure.Wrap(failure.SocketError, fmt.Errorf("connect to the process of enclave %s: %w", enclaveID, err))
	}
	return conn, nil
}

// sendCommand sends a command over a new connection. The process must have shown
// that it is alive, or have answered, in time.
func sendCommand(conn *net.UnixConn, c wire.Command, args any) error {
	if err := conn.SetDeadline(time.Now().Add(aliveTimeout)); err != nil {
		return failure.Wrap(failure.SocketError, err)
	}
	return failure.Wrap(failure.SocketError, wire.Send(conn, c, args))
}

// sendAll sends a command to all processes and returns the connections to those
// that confirmed it, and how many did not. The caller closes the connections.
func (e *Env) sendAll(c wire.Command, args any) (alive []*net.UnixConn, failed int, err error) {
	conns, err := e.connectAll()
	if err != nil {
		return nil, 0, err
	}
	// All at once: one that hangs costs aliveTimeout, as do ten.
	confirmed := make([]bool, len(conns))
	var wait sync.WaitGroup
	for i, conn := range conns {
		wait.Go(func() {
			if err := sendCommand(conn, c, args); err != nil {
				return
			}
			v, err := wire.ReadUint64(conn)
			confirmed[i] = err == nil && v == wire.Confirm
		})
	}
	wait.Wait()
	for i, conn := range conns {
		if confirmed[i] {
			alive = append(alive, conn)
		} else {
			failed++
			_ = conn.Close()
		}
	}
	return alive, failed, nil
}

// askNumber asks one process for a number.
func (e *Env) askNumber(enclaveID string, c wire.Command) (uint64, error) {
	conn, err := e.connect(enclaveID)
	if err != nil {
		return 0, failure.During("Failed to connect to enclave process", err)
	}
	defer conn.Close()
	if err := sendCommand(conn, c, nil); err != nil {
		return 0, err
	}
	v, err := wire.ReadUint64(conn)
	if err != nil {
		return 0, failure.Wrap(failure.SocketError, fmt.Errorf("answer to %s: %w", c, err))
	}
	return v, nil
}
