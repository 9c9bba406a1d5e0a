// Command inferctl is the parent's side of the confidential inference sample: it
// hands an enclave what it needs, and carries clients to it. It sees neither weights
// nor prompts.
//
//	inferctl provision --cid N --weights FILE
//	inferctl relay --cid N [--listen PORT]
//
// provision takes the credentials of the instance's role from the metadata service,
// with the AWS SDK's own client, and sends them with a file of sealed weights to the
// enclave. relay forwards a vsock port of the instance, 5443 unless told otherwise, to
// the enclave's attested channel, until it is ended.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], world{role: roleCredentials, dial: dial, listen: listen}, os.Stdout, os.Stderr))
}

// run is the command, and returns what the process exits with.
func run(ctx context.Context, args []string, w world, stdout, stderr io.Writer) int {
	o, err := parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "inferctl: %v\n%s", err, usage)
		return exitUsage
	}
	switch {
	case o.help:
		fmt.Fprint(stdout, usage)
		return 0
	case o.relay:
		err = w.relay(ctx, o, stderr)
	default:
		err = w.provision(ctx, o, stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "inferctl: %v\n", err)
		return exitFailed
	}
	return 0
}
