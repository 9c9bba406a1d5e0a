// Command agent is the application of nitrolab's debug images: an SSH server on
// vsock (see package agent) for `nitrolab shell` and for tests.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/mdlayher/vsock"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/guest/agent"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	server, err := agent.New(&agent.Config{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	l, err := vsock.Listen(ports.Agent, nil)
	if err != nil {
		return fmt.Errorf("listen on vsock port %d: %w", ports.Agent, err)
	}
	fmt.Fprintf(os.Stderr, "agent: listening on vsock port %d\n", ports.Agent)
	return server.Serve(ctx, l)
}
