// Command attest is the sample enclave application: on vsock port 5005 it
// answers each nonce with an attestation document over it, which it has from
// /dev/nsm, that is from the stock kernel driver. The wire format is package
// ask of devices/nsm.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/mdlayher/vsock"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/guest/attest"
	"github.com/nitrolab/nitrolab/guest/nsm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "attest:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	module, err := nsm.Open()
	if err != nil {
		return err
	}
	defer module.Close()
	l, err := vsock.Listen(ports.Attest, nil)
	if err != nil {
		return fmt.Errorf("listen on vsock port %d: %w", ports.Attest, err)
	}
	fmt.Fprintf(os.Stderr, "attest: listening on vsock port %d\n", ports.Attest)
	source := func(nonce []byte) ([]byte, error) { return module.Attest(wire.Attestation{Nonce: nonce}) }
	return attest.Serve(ctx, l, source, slog.New(slog.NewTextHandler(os.Stderr, nil)))
}
