package supervisor

import (
	"context"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/images/instance"
)

// A Host is what a supervisor needs of the emulated Nitro host on which it runs
// its guest. [OnHost] makes one of the real one.
type Host interface {
	// StartEnclave starts the machine; it does not wait for the heartbeat.
	StartEnclave(ctx context.Context, cfg emulator.EnclaveConfig) (Enclave, error)
	// Launch starts an instance and returns when its agent answers. It chooses the
	// image.
	Launch(ctx context.Context, cfg emulator.InstanceConfig) (Instance, error)
	// Listen takes connections that the enclave opens to its parent's port.
	Listen(port uint32) (net.Listener, error)
	// Dir is the state directory, which goes with the Host.
	Dir() string
	// RootPEM is the certificate that documents chain up to.
	RootPEM() []byte
	// ProxyKMS lets the enclave reach the key service at its parent's port 8000 until
	// it is closed.
	ProxyKMS() (io.Closer, error)
	// KMSEnv is a file of shell commands that point clients on this machine at the
	// key service; empty if it is not offered to them.
	KMSEnv() string
	// Timeout scales a deadline that is right for a fast machine.
	Timeout(base time.Duration) time.Duration
	// Log is where the Host tells what happens.
	Log() *slog.Logger
	// Close ends everything and leaves nothing.
	Close() error
}

// A Guest is what a supervisor needs of an enclave and of an instance alike, a
// subset of [emulator.Enclave], where the methods are described.
type Guest interface {
	Done() <-chan struct{}
	Err() error
	Terminate(ctx context.Context) error
	CopyConsole(ctx context.Context, w io.Writer, follow bool) error
	Dial(ctx context.Context, port uint32) (net.Conn, error)
}

// An Enclave is what a supervisor needs of its enclave, a subset of
// [emulator.Enclave].
type Enclave interface {
	Guest
	Info() emulator.EnclaveInfo
	WaitRunning(ctx context.Context) error
	DialReady(ctx context.Context, port uint32) (net.Conn, error)
}

// An Instance is what a supervisor needs of its instance, in terms of
// [emulator.Instance]. Its console can always be read, as on EC2.
type Instance interface {
	Guest
	Info() emulator.InstanceInfo
	// Enclaves are those that run in it, by CID.
	Enclaves() []emulator.EnclaveInfo
}

// OnHost makes h a Host of this package. image makes what instances boot; it is not
// called for enclaves.
//
// kmsEnv is what KMSEnv returns.
func OnHost(h *emulator.Host, image func(context.Context) (*instance.Image, error), kmsEnv string) Host {
	return realHost{h, image, kmsEnv}
}

type realHost struct {
	*emulator.Host
	image  func(context.Context) (*instance.Image, error)
	kmsEnv string
}

func (h realHost) KMSEnv() string { return h.kmsEnv }

func (h realHost) StartEnclave(ctx context.Context, cfg emulator.EnclaveConfig) (Enclave, error) {
	e, err := h.Host.StartEnclave(ctx, cfg)
	if err != nil {
		return nil, err // not e: an interface that holds nil is not nil
	}
	return e, nil
}

func (h realHost) Launch(ctx context.Context, cfg emulator.InstanceConfig) (_ Instance, err error) {
	if cfg.Image, err = h.image(ctx); err != nil {
		return nil, err
	}
	i, err := h.Host.Launch(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return realInstance{i}, nil
}

type realInstance struct{ *emulator.Instance }

func (i realInstance) Enclaves() []emulator.EnclaveInfo {
	var list []emulator.EnclaveInfo
	for _, e := range i.Instance.Enclaves() {
		list = append(list, e.Info())
	}
	return list
}

// consoleTail is how much of a console is shown at once, all that is in memory.
const consoleTail = 64 << 10

func (i realInstance) CopyConsole(ctx context.Context, w io.Writer, follow bool) error {
	if !follow {
		_, err := w.Write(i.Console().Tail(consoleTail))
		return err
	}
	_, err := io.Copy(w, i.Console().Follow(ctx))
	return err
}
