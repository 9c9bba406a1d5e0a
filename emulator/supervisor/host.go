package supervisor

import (
	"context"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/nitrolab/nitrolab/emulator"
)

// A Host is what a supervisor needs of the emulated Nitro host on which it runs
// its enclave. [OnHost] makes one of the real one.
type Host interface {
	// StartEnclave starts the machine; it does not wait for the heartbeat.
	StartEnclave(ctx context.Context, cfg emulator.EnclaveConfig) (Enclave, error)
	// Listen takes connections that the enclave opens to its parent's port.
	Listen(port uint32) (net.Listener, error)
	// Dir is the state directory, which goes with the Host.
	Dir() string
	// RootPEM is the certificate that documents chain up to.
	RootPEM() []byte
	// Timeout scales a deadline that is right for a fast machine.
	Timeout(base time.Duration) time.Duration
	// Log is where the Host tells what happens.
	Log() *slog.Logger
	// Close ends everything and leaves nothing.
	Close() error
}

// Enclave is what a supervisor needs of its enclave, a subset of
// [emulator.Enclave], where the methods are described.
type Enclave interface {
	Info() emulator.EnclaveInfo
	WaitRunning(ctx context.Context) error
	Done() <-chan struct{}
	Terminate(ctx context.Context) error
	CopyConsole(ctx context.Context, w io.Writer, follow bool) error
	Dial(ctx context.Context, port uint32) (net.Conn, error)
	DialReady(ctx context.Context, port uint32) (net.Conn, error)
}

// OnHost makes h a Host of this package.
func OnHost(h *emulator.Host) Host { return realHost{h} }

type realHost struct{ *emulator.Host }

func (h realHost) StartEnclave(ctx context.Context, cfg emulator.EnclaveConfig) (Enclave, error) {
	e, err := h.Host.StartEnclave(ctx, cfg)
	if err != nil {
		return nil, err // not e: an interface that holds nil is not nil
	}
	return e, nil
}
