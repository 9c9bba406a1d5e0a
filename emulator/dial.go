package emulator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// dialEvery is how often DialReady asks again. A refusal costs the guest one
// packet each way.
const dialEvery = 20 * time.Millisecond

// DialReady is [Enclave.Dial] for a port on which the application is about to
// listen: the heartbeat comes before the application, so the first answers may
// be refusals. It tries until it succeeds, the enclave ends or ctx does; an error
// after refusals wraps syscall.ECONNREFUSED too.
func (e *Enclave) DialReady(ctx context.Context, port uint32) (net.Conn, error) {
	tick := time.NewTicker(dialEvery)
	defer tick.Stop()
	var refusal error
	for {
		c, err := e.Dial(ctx, port)
		switch {
		case err == nil:
			return c, nil
		case errors.Is(err, syscall.ECONNREFUSED):
			refusal = err
		case ctx.Err() != nil && refusal != nil:
			return nil, fmt.Errorf("%w (last answer: %w)", ctx.Err(), refusal)
		default:
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (last answer: %w)", ctx.Err(), err)
		case <-e.Done():
			return nil, fmt.Errorf("dial vsock port %d: the enclave ended: %w", port, err)
		case <-tick.C:
		}
	}
}
