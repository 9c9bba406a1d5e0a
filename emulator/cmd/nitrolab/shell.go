package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/guestagent"
	"github.com/nitrolab/nitrolab/emulator/supervisor"
	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

// agentTimeout bounds the connection to the agent, before scaling. It takes
// 0.3 s.
const agentTimeout = 15 * time.Second

func newShell() *cobra.Command {
	var accel, qemuPath, command string
	cmd := &cobra.Command{
		Use:   "shell [ENCLAVE-ID]",
		Short: "A shell in a debug enclave (make shell)",
		Long: `shell boots a debug enclave with a shell, busybox and the nsm command, and ends
it when the shell ends. With ENCLAVE-ID it is a shell in an enclave that runs
already, if its image has nitrolab's agent (nitrolab eif sample --shell).

Input that is not from a terminal is run as a script.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return shellInto(cmd.Context(), args[0], command)
			}
			return shellNew(cmd.Context(), accel, qemuPath, command)
		},
	}
	addToolFlags(cmd, &accel, &qemuPath)
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
	if err != nil {
		return fmt.Errorf("the enclave has no agent on vsock port %d: %w", ports.Agent, err)
	}
	client, err := guestagent.New(ctx, conn)
	if err != nil {
		return err
	}
	defer client.Close()
	return runShell(ctx, client, command)
}

// shellNew boots an enclave for one shell.
func shellNew(ctx context.Context, accelName, qemuPath, command string) (err error) {
	tools, err := findToolsShowing(ctx, toolchain.AllParts, qemuPath)
	if err != nil {
		return err
	}
	accel, err := chooseAccel(ctx, tools, accelName)
	if err != nil {
		return err
	}
	base, err := supervisor.BaseDir()
	if err != nil {
		return err
	}
	cache, err := toolchain.CacheDir()
	if err != nil {
		return err
	}
	artifacts, err := filepath.Abs(artifactsDir)
	if err != nil {
		return err
	}
	host, err := emulator.NewHost(emulator.Config{
		Tools: tools, Accel: accel, StateDir: base, CacheDir: cache, ArtifactsDir: artifacts,
		Log: slog.New(lineHandler{slog.LevelWarn, func(l string) { fmt.Fprintln(os.Stderr, l) }}),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	im, err := sampleImage(ctx, tools, true)
	if err != nil {
		return err
	}
	path := filepath.Join(host.Dir(), "shell.eif")
	_, err = eif.BuildFile(path, im.Spec)
	if err := errors.Join(err, im.Close()); err != nil {
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
		return err
	}
	client, err := guestagent.New(connect, conn)
	if err != nil {
		return err
	}
	defer client.Close()
	fmt.Fprintf(os.Stderr, "debug enclave %s, CID %d. Try: nsm describe; nsm pcr; nsm attest\n", e.ID(), e.CID())
	return runShell(ctx, client, command)
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
		return &exitError{code: 1, msg: "the shell was ended by " + exit.Error()}
	}
	return err
}
