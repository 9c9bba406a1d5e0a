// Command fill builds all guest programs into the folder it is given, for
// embedding (see embed.go of the package above it). It is run by go generate.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/nitrolab/nitrolab/images/guestprog"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: fill folder")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := fill(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "fill:", err)
		os.Exit(1)
	}
}

func fill(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var packages []string
	for _, name := range guestprog.All() {
		packages = append(packages, guestprog.Module+"/guest/cmd/"+name)
	}
	_, err := guestprog.Build(ctx, dir, packages...)
	return err
}
