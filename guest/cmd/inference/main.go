// Command inference is the enclave of the confidential inference sample: it gets a
// model's weights from its parent, encrypted, and their key from the key service by
// attestation, and answers prompts over attested channels. See package inference.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/nitrolab/nitrolab/guest/inference/enclave"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := enclave.Run(ctx, nil); err != nil {
		fmt.Fprintln(os.Stderr, "inference:", err)
		os.Exit(1)
	}
}
