package nitrocli

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"time"

	"github.com/nitrolab/nitrolab/guest/nitrocli/args"
	"github.com/nitrolab/nitrolab/guest/nitrocli/enclaveproc"
	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/guest/nitrocli/wire"
)

// bootAnswerTimeout bounds the wait for an enclave's start. The enclave process
// has its own limit, which grows with the image; this one is for a process that
// hangs.
const bootAnswerTimeout = 24 * time.Hour

func (e *Env) runEnclave(ctx context.Context, v args.Values) error {
	a, err := e.parseRunArgs(v)
	if err != nil {
		return failure.During("Failed to construct RunEnclave arguments", err)
	}
	if _, err := e.ensureSocketsDir(); err != nil {
		return err
	}
	conn, err := e.Spawn()
	if err != nil {
		return failure.During("Failed to spawn enclave process", err)
	}
	// Without a command the process ends when the connection does.
	info, err := e.runIn(conn, a)
	if err = errors.Join(err, failure.Wrap(failure.SocketCloseError, ignoreClosed(conn.Close()))); err != nil {
		return err
	}
	if a.AttachConsole {
		return failure.During("Failed to connect to enclave console", e.showConsole(ctx, info.EnclaveCID, 0))
	}
	return nil
}

// runIn starts an enclave in the process at the other end of conn.
func (e *Env) runIn(conn *net.UnixConn, a wire.RunArgs) (info enclaveproc.RunInfo, err error) {
	names, err := e.enclaveNames()
	if err != nil {
		return info, failure.During("Failed to assign a new enclave name", err)
	}
	name := defaultName(a.EIFPath)
	if a.EnclaveName != nil {
		name = *a.EnclaveName
	}
	name = freeName(name, names)
	a.EnclaveName = &name
	if err := sendCommand(conn, wire.Run, a); err != nil {
		return info, failure.During("Failed to send single command", err)
	}
	answers, err := e.printAnswers([]*net.UnixConn{conn}, 0, false, bootAnswerTimeout)
	if err != nil {
		return info, failure.During("Failed to handle all enclave process replies", err)
	}
	if err := json.Unmarshal(answers[0].json, &info); err != nil {
		return info, failure.Wrap(failure.SerdeError, err)
	}
	return info, nil
}

// enclaveNames asks all processes for their names.
func (e *Env) enclaveNames() ([]string, error) {
	conns, _, err := e.sendAll(wire.GetEnclaveName, nil)
	if err != nil {
		return nil, err
	}
	answers, _ := e.readAnswers(conns, aliveTimeout)
	return stringsOf(answers), nil
}

// ignoreClosed is err unless it says that there is nothing to close any more.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
