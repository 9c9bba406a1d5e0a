package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/guestagent"
	"github.com/nitrolab/nitrolab/emulator/supervisor"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

// agentTimeout bounds the connection to the agent, before scaling. It takes
// 0.3 s, and 1.5 s under TCG.
const agentTimeout = 15 * time.Second

func newShell() *cobra.Command {
	var tools toolFlags
	var command string
	cmd := &cobra.Command{
		Use:   "shell [ENCLAVE-ID]",
		Short: "A shell in a debug enclave (make shell)",
		Long: `shell boots a debug enclave with a shell, busybox and the nsm command, and ends
it when the shell ends. With ENCLAVE-ID it is a shell in an enclave that runs
already, if its image has nitrolab's agent (nitrolab eif sample --shell).

Input that is not from a terminal is run as a script.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("arguments are %q; allowed is one ENCLAVE-ID, and a command behind -c in quotes", args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return shellInto(cmd.Context(), args[0], command)
			}
			return shellNew(cmd.Context(), tools, command)
		},
	}
	tools.add(cmd)
	cmd.Flags().StringVarP(&command, "command", "c", "", "run this `COMMAND` instead of a shell")
	return cmd
}

// shellInto opens a shell in a running enclave.
func shellInto(ctx context.Context, id, command string) error {
	t := target{id: id}
	r, err := t.find(ctx)
	if err != nil {
		return err
	}
	connect, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	conn, err := dialAgent(connect, r.Client)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("enclave %s has no agent that answers on vsock port %d; nitrolab eif sample --shell makes an image with one", id, ports.Agent)
	case err != nil:
		return err
	}
	client, err := guestagent.New(connect, conn)
	if err != nil {
		return err
	}
	defer client.Close()
	return runShell(ctx, client, command)
}

// dialAgent tries until ctx ends: run-enclave returns at the heartbeat, which
// comes before the agent listens.
func dialAgent(ctx context.Context, c *supervisor.Client) (net.Conn, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := c.Dial(ctx, ports.Agent)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-tick.C:
		}
	}
}

// shellNew boots an enclave for one shell.
func shellNew(ctx context.Context, flags toolFlags, command string) (err error) {
	tools, accel, err := flags.find(ctx, toolchain.AllParts)
	if err != nil {
		return err
	}
	host, err := newLocalHost(tools, accel)
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
	connect, cancel := context.WithTimeout(ctx, accel.Timeout(agentTimeout))
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
	if command == "" && isTerminal(os.Stdin) {
		fmt.Fprintf(os.Stderr, "debug enclave %s, CID %d. Try: nsm describe; nsm pcr; nsm attest\n", e.ID(), e.CID())
	}
	err = runShell(ctx, client, command)
	if errors.Is(err, guestagent.ErrLost) && e.Err() != nil {
		return e.Err() // why the guest is gone
	}
	return err
}

// runShell gives our streams to the guest; the exit status of the shell becomes
// ours.
func runShell(ctx context.Context, client *guestagent.Client, command string) error {
	var err error
	if command != "" {
		err = client.Run(ctx, command, guestagent.Streams{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
	} else {
		err = client.Shell(ctx, os.Stdin, os.Stdout, os.Stderr)
	}
	var exit *guestagent.ExitError
	switch {
	case errors.As(err, &exit) && exit.Signal == "":
		return &exitError{code: exit.Status}
	case errors.As(err, &exit):
		return &exitError{code: exit.Status, msg: "the command in the guest was ended by signal " + exit.Signal}
	case errors.Is(err, guestagent.ErrLost):
		return fmt.Errorf("the enclave ended before its shell: %w", err)
	}
	return err
}
