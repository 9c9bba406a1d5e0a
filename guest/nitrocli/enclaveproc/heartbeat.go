package enclaveproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/mdlayher/vsock"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
)

// parentCID is the parent instance's own, as AWS documents it.
const parentCID = 3

// bootTimeout is how long an enclave may take from its start to its heartbeat:
// 90 s for each 6 GiB of image and 90 s for each 100 GiB of memory, begun ones
// included (calculate_necessary_timeout in resource_manager.rs). Sizes are in
// bytes.
func bootTimeout(imageSize, memory uint64) time.Duration {
	const step, gib = 90 * time.Second, 1 << 30
	begun := func(n, unit uint64) time.Duration { return time.Duration(max(1, n/unit+min(1, n%unit))) }
	return begun(imageSize, 6*gib)*step + begun(memory, 100*gib)*step
}

// errNoHeartbeat says that the time for the heartbeat is over.
var errNoHeartbeat = errors.New("no heartbeat in time")

// awaitHeartbeat waits until the enclave with the given CID has reported that it
// booted: it connects, sends one byte and expects it back. l is not closed.
func awaitHeartbeat(ctx context.Context, l Listener, cid uint64) error {
	stop := context.AfterFunc(ctx, func() { _ = l.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			return heartbeatError(ctx, "accept", err)
		}
		// Another enclave may connect to this port as well, and cannot be let
		// to answer for this one. nitro-cli does not look.
		if from, ok := conn.RemoteAddr().(*vsock.Addr); ok && uint64(from.ContextID) != cid {
			_ = conn.Close()
			continue
		}
		return exchangeHeartbeat(ctx, conn)
	}
}

func exchangeHeartbeat(ctx context.Context, conn net.Conn) (err error) {
	defer func() { err = errors.Join(err, conn.Close()) }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var b [1]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return heartbeatError(ctx, "read", err)
	}
	if b[0] != ports.HeartbeatByte {
		return failure.New(failure.EnclaveBootFailure, "heartbeat is %#02x instead of %#02x", b[0], ports.HeartbeatByte)
	}
	if _, err := conn.Write(b[:]); err != nil {
		return heartbeatError(ctx, "answer", err)
	}
	return nil
}

// heartbeatError is why there was no heartbeat: the end of ctx, or err.
func heartbeatError(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		err = context.Cause(ctx)
	} else {
		err = fmt.Errorf("%s heartbeat: %w", op, err)
	}
	return failure.Wrap(failure.EnclaveBootFailure, err)
}
