package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/guestagent"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

// agentTimeout bounds the connection to the agent. It takes 0.3 s, and 1.5 s
// under TCG.
const agentTimeout = 60 * time.Second

func newShell() *cobra.Command {
	var tools toolFlags
	var command string
	cmd := &cobra.Command{
		Use:   "shell [ENCLAVE-ID]",
		Short: "A shell in a debug enclave (make shell)",
		Long: `shell, or make shell, boots a debug enclave with a shell, busybox and the nsm
command, and ends it when the shell ends. With ENCLAVE-ID it is a shell in an
enclave that runs already, if its image has nitrolab's agent (nitrolab eif
sample --shell makes one).

Input that is not from a terminal is run as a script. The exit code is that of
the shell or the command.`,
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
	conn, err := r.Dial(ctx, ports.Agent)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("enclave %s has no agent on vsock port %d; nitrolab eif sample --shell makes an image with one", id, ports.Agent)
	case err != nil:
		return err
	}
	connect, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	client, err := guestagent.New(connect, conn)
	if err != nil {
		return err
	}
	defer client.Close()
	return runShell(ctx, client, command)
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
