package instance

import (
	"context"
	"io"
	"io/fs"
	"net"
	"time"

	"github.com/nitrolab/nitrolab/guest/instance/control"
)

// machine is what the agent asks of the kernel. The real one is in realmachine.go;
// tests record the calls and make them fail.
type machine interface {
	// AddEntropy credits a seed to the kernel's generator and reseeds that.
	AddEntropy(seed []byte) error
	SetClock(t time.Time) error
	SetHostname(name string) error

	// WriteFile replaces a file as a whole.
	WriteFile(path string, content []byte, mode fs.FileMode) error
	// Remove removes a file; one that is not there is no error.
	Remove(path string) error
	// Set writes to a file of /proc or /sys.
	Set(path, value string) error
	// Resumed reports whether there is a stateFile, so that this boot has had a
	// resume and no quiesce since.
	Resumed() bool

	// Facts fills all of a Ready but BootID.
	Facts() (control.Ready, error)
	// Sync writes what file systems have not written yet.
	Sync()
	// FreeMemory gives memory of this process back to the kernel.
	FreeMemory()

	// OpenPort waits for a virtio-serial port and opens it.
	OpenPort(ctx context.Context, name string) (io.ReadWriteCloser, error)
	// ListenVsock listens on the agent's port.
	ListenVsock() (net.Listener, error)

	// LinkLocal starts the services of package linklocal, which end with the
	// closer.
	LinkLocal(ctx context.Context) (io.Closer, error)

	// PCI lists the PCI functions.
	PCI() ([]control.Device, error)
	// HasVsock reports whether there is a vsock device with an address.
	HasVsock() bool
	// Events has an element after devices changed, until stop is called.
	Events() (events <-chan struct{}, stop func(), err error)
}
