package nsm

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// Path is the device file of the Linux driver. It is there once the driver has
// found the module; with the driver for 4.14 it is always there, and requests
// fail with ENXIO if there is no module.
const Path = "/dev/nsm"

// Open opens the module of this enclave. The caller closes the session.
func Open() (*Session, error) {
	d, err := openDevice(Path)
	if err != nil {
		return nil, fmt.Errorf("open nsm: %w", err)
	}
	return &Session{t: d, closer: d}, nil
}

// device is the driver's file.
type device struct {
	file *os.File

	mu    sync.Mutex // the driver takes one request at a time anyway
	reply []byte     // wire.MaxResponse bytes, reused
}

// openDevice opens the file read-only, which is all that the driver wants.
func openDevice(path string) (*device, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &device{file: f, reply: make([]byte, wire.MaxResponse)}, nil
}

// Raw implements [Transport]. The request is not repeated if it fails: it may
// have been carried out.
func (d *device) Raw(req []byte) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	conn, err := d.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var n int
	var ioctlErr error
	if err := conn.Control(func(fd uintptr) { n, ioctlErr = ioctlRaw(fd, req, d.reply) }); err != nil {
		return nil, &fs.PathError{Op: "ioctl", Path: d.file.Name(), Err: os.ErrClosed}
	}
	if ioctlErr != nil {
		return nil, ioctlErr
	}
	return slices.Clone(d.reply[:n]), nil
}

// Close implements [io.Closer].
func (d *device) Close() error { return d.file.Close() }
