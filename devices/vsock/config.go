package vsock

import (
	"log/slog"
	"time"

	"github.com/nitrolab/nitrolab/devices/weaken"
)

// Config adjusts a [Switch]. The zero value, or nil, gives the defaults.
type Config struct {
	// Log receives what guests do wrong. Nil discards it.
	Log *slog.Logger

	// Window is the credit, and so the buffer in bytes, that we grant to a
	// guest on one connection: at least 4 KiB, default 256 KiB as Linux.
	Window int

	// Memory bounds the windows of all connections between a guest and one
	// other member, in bytes, default 64 MiB. Members are told apart by CID, so
	// an enclave cannot use up what its parent has for another one. When it
	// runs short, new connections get smaller windows, down to 16 KiB, or Window
	// if that is less. Buffers are allocated as they fill, so an idle connection
	// costs almost nothing. It also bounds what faults hold of a guest's packets.
	Memory int

	// MaxConns bounds the connections between a guest and one other member,
	// default 4096. A connection counts until both the guest and the Go
	// endpoint are done with it. Beyond it requests are refused.
	MaxConns int

	// Backlog bounds the connections of one guest, or of all Go endpoints, that
	// wait for Accept on one listener, default 128. Beyond it requests are
	// refused.
	Backlog int

	// CloseTimeout is how long a closed connection waits for the guest's RST
	// before it is reset, default 8 s as Linux.
	CloseTimeout time.Duration

	// Weaken can lift weaken.EnclaveIsolation or weaken.SourceCID, in tests.
	Weaken weaken.Set
}

// Defaults and bounds of [Config].
const (
	defaultWindow       = 256 << 10
	defaultMemory       = 64 << 20
	defaultMaxConns     = 4096
	defaultBacklog      = 128
	defaultCloseTimeout = 8 * time.Second

	minWindow   = 16 << 10
	leastWindow = 4 << 10
	mostWindow  = 1 << 30 // differences of counters stay below 2^31
)

func (c *Config) withDefaults() Config {
	var out Config
	if c != nil {
		out = *c
	}
	if out.Log == nil {
		out.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&out.Window, defaultWindow)
	setDefault(&out.Memory, defaultMemory)
	setDefault(&out.MaxConns, defaultMaxConns)
	setDefault(&out.Backlog, defaultBacklog)
	setDefault(&out.CloseTimeout, defaultCloseTimeout)
	out.Window = min(max(out.Window, leastWindow), mostWindow)
	return out
}

func setDefault[T int | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// window is the credit for a new connection when used bytes are granted
// already. Near the bound each new connection gets a 64th of what is left, so
// that a guest with many idle connections can still open fast ones.
func (c *Config) window(used int) int {
	w := min(c.Window, (c.Memory-used)/64)
	return max(w, min(minWindow, c.Window))
}
