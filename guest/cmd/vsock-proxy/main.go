// Command vsock-proxy runs in a parent instance and carries connections of its
// enclaves from a vsock port to one TCP service, with the command line of AWS's
// program of this name:
//
//	vsock-proxy [-4|-6] [-w N] [--config FILE] <local_port> <remote_addr> <remote_port>
//	vsock-proxy 8000 kms.us-east-1.amazonaws.com 443
//
// It listens on CID 3, as AWS's does: the CID of a parent instance. The service must
// be in the allowlist FILE, without which it does not start. SIGTERM and SIGINT end
// it with exit code 0. Connections are logged on standard error; a wrong command line
// ends with 2, any other failure with 1. The logic is guest/vsockproxy.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mdlayher/vsock"

	"github.com/nitrolab/nitrolab/guest/vsockproxy"
)

// Exit codes, clap's and Rust's in AWS's program.
const (
	exitFailed = 1
	exitUsage  = 2
)

// parentCID is that of a parent instance (VSOCK_PROXY_CID of AWS's program).
const parentCID = 3

// checkTimeout bounds the look at the allowlist, which may ask for the addresses of
// every name in it.
const checkTimeout = time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, listen, vsockproxy.Config{}))
}

// run is the program. The command line completes cfg.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, listen func(port uint32) (net.Listener, error), cfg vsockproxy.Config) int {
	o, err := parse(args)
	switch {
	case errors.Is(err, errHelp):
		fmt.Fprint(stdout, usage)
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "vsock-proxy: %v\n\n%s", err, usage)
		return exitUsage
	}
	cfg.Remote, cfg.Family, cfg.Workers = o.remote, o.family, o.workers
	if cfg.Resolve == nil {
		cfg.Resolve = net.DefaultResolver.LookupNetIP
	}
	cfg.Log = slog.New(slog.NewTextHandler(stderr, nil))
	if err := serve(ctx, o, listen, cfg); err != nil && ctx.Err() == nil {
		fmt.Fprintf(stderr, "vsock-proxy: %v\n", err)
		return exitFailed
	}
	return 0
}

func serve(ctx context.Context, o options, listen func(port uint32) (net.Listener, error), cfg vsockproxy.Config) error {
	allowed, err := readAllowlist(o.config)
	if err != nil {
		return err
	}
	proxy, err := vsockproxy.New(cfg)
	if err != nil {
		return err
	}
	checkCtx, cancel := context.WithTimeout(ctx, checkTimeout)
	err = allowed.Check(checkCtx, cfg.Resolve, cfg.Family, cfg.Remote)
	cancel()
	if err != nil {
		return fmt.Errorf("%s: %w", o.config, err)
	}
	l, err := listen(o.localPort)
	if err != nil {
		return fmt.Errorf("listen on CID %d port %d: %w", parentCID, o.localPort, err)
	}
	cfg.Log.Info("listening", "cid", parentCID, "port", o.localPort, "remote", cfg.Remote, "workers", cfg.Workers)
	return proxy.Serve(ctx, l)
}

func readAllowlist(path string) (vsockproxy.Allowlist, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, vsockproxy.MaxAllowlist+1))
	if err != nil {
		return nil, err
	}
	list, err := vsockproxy.ParseAllowlist(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// listen binds the CID, so that the loopback of a machine with another one is not
// taken for the enclaves' side.
func listen(port uint32) (net.Listener, error) {
	l, err := vsock.ListenContextID(parentCID, port, nil)
	if err != nil {
		return nil, err // not a nil *vsock.Listener in a net.Listener
	}
	return l, nil
}
