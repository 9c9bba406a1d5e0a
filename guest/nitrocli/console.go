package nitrocli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/nitrolab/nitrolab/guest/enclaves"
	"github.com/nitrolab/nitrolab/guest/nitrocli/args"
	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/guest/nitrocli/wire"
)

const (
	// The console of an enclave in debug mode is a stream of the hypervisor
	// (CID 0) at this port plus the enclave's CID (CID_TO_CONSOLE_PORT_OFFSET).
	hypervisorCID     = 0
	consolePortOffset = 10000
	// consoleConnectTimeout is CONSOLE_CONNECT_TIMEOUT of nitro-cli's utils.rs.
	consoleConnectTimeout = 20 * time.Second
)

func (e *Env) console(ctx context.Context, v args.Values) error {
	id, err := e.enclaveID(v)
	if err != nil {
		return failure.During("Failed to construct Console arguments", err)
	}
	var timeout uint64
	if text, ok := v.Get("disconnect-timeout"); ok {
		if timeout, err = strconv.ParseUint(text, 10, 64); err != nil {
			return invalid("disconnect-timeout", text, "`disconnect-timeout` is not a number")
		}
		if timeout == 0 {
			// A timer of 0 s is one that is off (timerfd_settime(2)).
			timeout = math.MaxUint64
		}
	}
	cid, err := e.askNumber(id, wire.GetEnclaveCID)
	if err != nil {
		return failure.During("Failed to retrieve enclave CID", err)
	}
	flags, err := e.askNumber(id, wire.GetEnclaveFlags)
	if err != nil {
		return failure.During("Failed to retrieve enclave flags", err)
	}
	if flags&enclaves.DebugMode == 0 {
		return failure.New(failure.EnclaveConsoleConnectionFailure,
			"the enclave was not started in debug mode; run-enclave has the option --debug-mode")
	}
	return failure.During("Failed to connect to enclave console", e.showConsole(ctx, cid, timeout))
}

// showConsole prints an enclave's console until it ends or seconds are over; 0
// is no limit.
func (e *Env) showConsole(ctx context.Context, cid, seconds uint64) error {
	if cid > math.MaxUint32-consolePortOffset {
		return failure.New(failure.IntegerParsingError, "CID %d gives no vsock port", cid)
	}
	fmt.Fprintf(e.Stdout, "Connecting to the console for enclave %d...\n", cid)
	dialCtx, cancel := context.WithTimeout(ctx, consoleConnectTimeout)
	conn, err := e.DialVsock(dialCtx, hypervisorCID, uint32(cid)+consolePortOffset)
	cancel()
	if err != nil {
		return failure.Wrap(failure.EnclaveConsoleConnectionFailure, err)
	}
	fmt.Fprintln(e.Stdout, "Successfully connected to the console.")
	err = e.copyConsole(ctx, conn, seconds)
	return errors.Join(err, failure.Wrap(failure.SocketCloseError, conn.Close()))
}

func (e *Env) copyConsole(ctx context.Context, conn net.Conn, seconds uint64) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	// Beyond what a Duration holds is for ever.
	if seconds > 0 && seconds < uint64(math.MaxInt64/time.Second) {
		if err := conn.SetReadDeadline(time.Now().Add(time.Duration(seconds) * time.Second)); err != nil {
			return failure.Wrap(failure.EpollError, err)
		}
	}
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if _, err := e.Stdout.Write(buf[:n]); err != nil {
			return failure.Wrap(failure.EnclaveConsoleWriteOutputError, err)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return failure.Wrap(failure.EnclaveConsoleReadError, err)
		}
	}
}
