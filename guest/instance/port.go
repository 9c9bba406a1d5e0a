package instance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Where the kernel names virtio-serial ports (drivers/char/virtio_console.c).
const (
	portClass = "/sys/class/virtio-ports"
	portDir   = "/dev"
)

const (
	// portTick is how often a port is looked for that is not there yet. The
	// driver finds out the names after it was loaded, which takes some ms.
	portTick = 20 * time.Millisecond
	// portPatience is when the console is told that a port does not come.
	portPatience = 10 * time.Second
	// hostTick is how often a port is read of which nobody has the other end.
	hostTick = 50 * time.Millisecond
)

// OpenPort waits for the port until ctx ends.
func (m realMachine) OpenPort(ctx context.Context, name string) (io.ReadWriteCloser, error) {
	start, told := time.Now(), false
	for {
		path, err := findPort(portClass, portDir, name)
		if err == nil {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return nil, err
			}
			return newPort(f), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if !told && time.Since(start) > portPatience {
			told = true
			m.log.Warn("waiting for a virtio-serial port", "port", name)
		}
		if !wait(ctx, portTick) {
			return nil, ctx.Err()
		}
	}
}

// findPort is the device file of the port with a name.
func findPort(class, dev, name string) (string, error) {
	entries, err := os.ReadDir(class)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(class, e.Name(), "name"))
		if err != nil || strings.TrimSpace(string(b)) != name {
			continue
		}
		path := filepath.Join(dev, e.Name())
		if _, err := os.Stat(path); err != nil {
			return "", err
		}
		return path, nil
	}
	return "", fmt.Errorf("port %s: %w", name, fs.ErrNotExist)
}

// A port is a virtio-serial port. A read of it ends when nobody has the other end;
// this one waits until somebody has it again.
type port struct {
	file   io.ReadWriteCloser
	closed chan struct{}
	once   sync.Once
}

func newPort(f io.ReadWriteCloser) *port { return &port{file: f, closed: make(chan struct{})} }

// Read implements [io.Reader].
func (p *port) Read(b []byte) (int, error) {
	for {
		n, err := p.file.Read(b)
		if n > 0 || err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		t := time.NewTimer(hostTick)
		select {
		case <-t.C:
		case <-p.closed:
			t.Stop()
			return 0, fs.ErrClosed
		}
	}
}

// Write implements [io.Writer].
func (p *port) Write(b []byte) (int, error) { return p.file.Write(b) }

// Close implements [io.Closer] and ends a Read.
func (p *port) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.file.Close()
}
