package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/supervisor"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

// artifactsDir gets a folder for each enclave that failed, where its user looks.
const artifactsDir = "nitrolab-artifacts"

// newSupervise is the process behind run-enclave. People do not type it.
func newSupervise() *cobra.Command {
	return &cobra.Command{
		Use:    supervisor.Command,
		Short:  "Look after one enclave (started by run-enclave)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := supervisor.Supervise(cmd.Context(), os.Stdin, os.Stdout, startHost); err != nil {
				// It has been told to whoever waits.
				return &exitError{code: 1}
			}
			return nil
		},
	}
}

// startHost makes this machine's Host for an order.
func startHost(ctx context.Context, order supervisor.Order, progress func(string)) (*emulator.Host, error) {
	// The kernel is for the probe of KVM; the enclave brings its own.
	tools, err := findTools(ctx, toolchain.PartQEMU|toolchain.PartKernel, order.QEMU, textProgress(progress))
	if err != nil {
		return nil, err
	}
	accel, err := chooseAccel(ctx, tools, order.Accel)
	if err != nil {
		return nil, err
	}
	progress(fmt.Sprintf("nitrolab %s · %s · QEMU %s", version, accel, tools.QEMU.Version))
	id, err := hostIdentity()
	if err != nil {
		return nil, err
	}
	base, err := supervisor.BaseDir()
	if err != nil {
		return nil, err
	}
	cache, err := toolchain.CacheDir()
	if err != nil {
		return nil, err
	}
	return emulator.NewHost(emulator.Config{
		Tools:        tools,
		Accel:        accel,
		StateDir:     base,
		CacheDir:     cache,
		ArtifactsDir: order.ArtifactsDir,
		Identity:     id,
		Role:         order.Role,
		Names:        order.Names,
		Log:          slog.New(lineHandler{slog.LevelInfo, progress}),
	})
}
