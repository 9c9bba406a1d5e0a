// Command weakinference is guest/cmd/inference with protections that a request to
// provision can switch off, for the counter-proofs of attacks: the run in which the
// attack has to succeed. It is another program in another image with other
// measurements, so that no key policy for the product's image releases anything to
// it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/guest/inference/enclave"
)

// known are the protections of an enclave's client.
var known = []weaken.Protection{weaken.ServiceTLS, weaken.SealedAnswer, weaken.KeyBinding}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := enclave.Run(ctx, allowed); err != nil {
		fmt.Fprintln(os.Stderr, "weakinference:", err)
		os.Exit(1)
	}
}

func allowed(p weaken.Protection) (weaken.Set, error) {
	if !slices.Contains(known, p) {
		return weaken.Set{}, fmt.Errorf("protection is %q; allowed are %q", p, known)
	}
	return weaken.InGuest(p), nil
}
