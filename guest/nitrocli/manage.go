package nitrocli

import (
	"context"
	"errors"
	"net"
	"syscall"

	"github.com/nitrolab/nitrolab/guest/nitrocli/args"
	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/guest/nitrocli/wire"
)

func (e *Env) describeEnclaves(_ context.Context, v args.Values) error {
	conns, failed, err := e.sendAll(wire.Describe, wire.DescribeArgs{Metadata: v.Has("metadata")})
	if err != nil {
		return failure.During("Failed to send DescribeEnclave command to all enclave processes", err)
	}
	// A process that has just started its enclave still measures the image.
	_, err = e.printAnswers(conns, failed, true, answerTimeout)
	return failure.During("Failed to handle all enclave process replies", err)
}

func (e *Env) terminateEnclave(_ context.Context, v args.Values) error {
	if v.Has("all") {
		return failure.During("Failed to terminate all running enclaves", e.terminateAll())
	}
	id, err := e.enclaveID(v)
	if err != nil {
		return failure.During("Failed to construct TerminateEnclave arguments", err)
	}
	conn, err := e.connect(id)
	if err != nil {
		return failure.During("Failed to connect to enclave process", err)
	}
	if err := sendCommand(conn, wire.Terminate, nil); err != nil {
		return errors.Join(failure.During("Failed to send single command", err), conn.Close())
	}
	_, err = e.printAnswers([]*net.UnixConn{conn}, 0, false, answerTimeout)
	return failure.During("Failed to handle all enclave process replies", err)
}

// terminateAll asks every process; each decides for itself whether this user may.
func (e *Env) terminateAll() error {
	conns, err := e.connectAll()
	if err != nil {
		return err
	}
	var asked []*net.UnixConn
	failed := 0
	for _, conn := range conns {
		if err := sendCommand(conn, wire.Terminate, nil); err != nil {
			_ = conn.Close()
			failed++
			continue
		}
		asked = append(asked, conn)
	}
	_, err = e.printAnswers(asked, failed, true, answerTimeout, int32(syscall.EACCES))
	return failure.During("Failed to handle all enclave processes replies", err)
}

// enclaveID is the ID of the enclave that --enclave-id or --enclave-name names.
func (e *Env) enclaveID(v args.Values) (string, error) {
	name, ok := v.Get("enclave-name")
	if !ok {
		id, _ := v.Get("enclave-id")
		return id, nil
	}
	conns, _, err := e.sendAll(wire.GetIDbyName, name)
	if err != nil {
		return "", failure.During("Get ID by Name", err)
	}
	answers, _ := e.readAnswers(conns, aliveTimeout)
	switch ids := stringsOf(answers); len(ids) {
	case 0:
		return "", failure.New(failure.EnclaveNamingError, "no enclave has the name %q", name)
	case 1:
		return ids[0], nil
	default:
		return "", failure.New(failure.EnclaveNamingError, "%d enclaves have the name %q", len(ids), name)
	}
}
