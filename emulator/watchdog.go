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
	return isSilent(ctx, limit, func(ctx context.Context) error {
		c, err := e.Dial(ctx, probePort)
		if err == nil {
			c.Close() // somebody listens there: alive as well
		}
		return err
	})
}

// isSilent probes until no probe was answered for limit, and returns true then;
// false when ctx ends. An answer is success, a refusal or a reset: only a kernel
// gives these. Any other error says nothing about the guest, so that alone does
// not condemn it, but neither does it prove life.
//
// Time counts from the first probe without an answer, and one alone is not enough:
// this process may itself have been stopped, for longer than limit.
func isSilent(ctx context.Context, limit time.Duration, probe func(context.Context) error) bool {
	tick := time.NewTicker(max(limit/probeInterval, time.Millisecond))
	defer tick.Stop()
	failures := 0
	var first time.Time // when the first of them began
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		began := time.Now()
		wait, cancel := context.WithTimeout(ctx, limit/2)
		err := probe(wait)
		cancel()
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil, errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
			failures = 0
			continue
		case failures == 0:
			first = began
		}
		if failures++; failures > 1 && time.Since(first) >= limit {
			return true
		}
	}
}
