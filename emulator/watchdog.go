package emulator

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/nitrolab/nitrolab/devices/vsock"
)

// The watchdog asks the guest's kernel for a sign of life: a connection to a
// vsock port on which nothing listens, which any Linux refuses at once, whatever
// its programs do. It needs nothing in the image, so stock images have it too.
const (
	hangTimeout   = time.Minute // before scaling
	probeInterval = 5           // probes per timeout

	// probePort is the last port there is; PortAny is one more.
	probePort = vsock.PortAny - 1
)

// hangTimeout is how long the kernel may stay silent; negative is for ever.
func (e *Enclave) hangTimeout() time.Duration {
	if e.cfg.HangTimeout != 0 {
		return e.cfg.HangTimeout
	}
	return time.Duration(float64(hangTimeout) * e.host.cfg.Accel.Scale())
}

// isHung returns true when the kernel has been silent for the timeout, and false
// when ctx ends.
func (e *Enclave) isHung(ctx context.Context) bool {
	limit := e.hangTimeout()
	if limit < 0 {
		return false
	}
	tick := time.NewTicker(max(limit/probeInterval, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		probe, cancel := context.WithTimeout(ctx, limit)
		c, err := e.Dial(probe, probePort)
		cancel()
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil:
			c.Close() // somebody listens there: alive as well
		case !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET):
			return true
		}
	}
}
