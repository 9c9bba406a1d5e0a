// Command instance is PID 1 of a parent instance, and with the argument "agent" what
// serves the Host there. What it does is in package instance.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/nitrolab/nitrolab/guest/instance"
)

func main() {
	switch {
	case os.Getpid() == 1:
		if err := instance.Init(); err != nil {
			os.Stderr.WriteString("init: " + err.Error() + "\n")
			os.Exit(1)
		}
	case len(os.Args) == 2 && os.Args[1] == instance.AgentArg:
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		instance.RunAgent(ctx)
	default:
		os.Stderr.WriteString("usage: PID 1 of an instance, or: instance agent\n")
		os.Exit(2)
	}
}
