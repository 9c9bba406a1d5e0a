package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/services"
	"github.com/nitrolab/nitrolab/emulator/supervisor"
	"github.com/nitrolab/nitrolab/images/instance"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

// newSupervise is the process behind run-enclave, launch and shell. People do not
// type it.
func newSupervise() *cobra.Command {
	return &cobra.Command{
		Use:    supervisor.Command,
		Short:  "Look after one enclave or instance (started by run-enclave, launch and shell)",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Whoever started us is gone when the enclave runs, and a word too late
			// must not be the end of it. Caught and not ignored, because children
			// inherit what is ignored.
			signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
			if err := supervisor.Supervise(cmd.Context(), os.Stdin, os.Stdout, startHost); err != nil {
				// It has been told to whoever waits.
				return &exitError{code: codeFailed}
			}
			return nil
		},
	}
}

// startHost makes this machine's Host for an order.
func startHost(ctx context.Context, order supervisor.Order, progress func(string)) (supervisor.Host, error) {
	// For an enclave the kernel is for the probe of KVM: it brings its own.
	parts := toolchain.PartQEMU | toolchain.PartKernel
	if order.Instance != nil {
		parts = toolchain.AllParts
	}
	tools, err := findTools(ctx, parts, order.QEMU, textProgress(progress))
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
	p, err := findPlaces()
	if err != nil {
		return nil, err
	}
	host, err := emulator.NewHost(emulator.Config{
		Tools:        tools,
		Accel:        accel,
		StateDir:     p.state,
		CacheDir:     p.cache,
		ArtifactsDir: order.ArtifactsDir,
		Identity:     id,
		Role:         order.Role,
		KMS:          services.KMSConfig{Store: order.KMSStore},
		Names:        order.Names,
		Log:          slog.New(lineHandler{slog.LevelInfo, progress}),
	})
	if err != nil {
		return nil, err
	}
	env, err := offerKMS(ctx, host, order.Role, order.KMSListen)
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	return supervisor.OnHost(host, func(ctx context.Context) (*instance.Image, error) {
		image, err := instanceImage(ctx, tools, p.cache)
		return image, plain(err) // it arrives as text
	}, env), nil
}
