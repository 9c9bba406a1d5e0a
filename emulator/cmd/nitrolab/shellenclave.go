package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/guestagent"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

// inNewEnclave boots a debug enclave for one shell.
func (f *shellFlags) inNewEnclave(ctx context.Context) (err error) {
	tools, accel, err := f.tools.find(ctx, toolchain.AllParts)
	if err != nil {
		return err
	}
	host, err := newLocalHost(tools, accel, "")
	if err != nil {
		return err
	}
	defer host.closeInto(&err)
	path := filepath.Join(host.Dir(), "shell.eif")
	if _, err := buildSample(ctx, tools, true, path); err != nil {
		return err
	}
	e, err := host.RunEnclave(ctx, emulator.EnclaveConfig{EIFPath: path, MemoryMiB: sampleMemoryMiB, CPUs: sampleCPUs, Debug: true})
	if err != nil {
		return err
	}
	connect, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	conn, err := e.DialReady(connect, ports.Agent)
	if err != nil {
		return fmt.Errorf("connect to the agent in the guest: %w", err)
	}
	client, err := guestagent.New(connect, conn)
	if err != nil {
		return err
	}
	defer client.Close()
	if f.interactive() {
		fmt.Fprintf(os.Stderr, "debug enclave %s, CID %d. Try: nsm describe; nsm pcr; nsm attest\n", e.ID(), e.CID())
	}
	err = f.run(ctx, client)
	if errors.Is(err, guestagent.ErrLost) {
		if e.Err() != nil {
			return e.Err() // why the guest is gone
		}
		return fmt.Errorf("the enclave ended before its shell: %w", err)
	}
	return err
}
