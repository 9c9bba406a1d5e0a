// Command nitro-cli starts, lists and ends enclaves from inside a parent
// instance, and builds, describes and signs their images, with the options,
// output and error codes of AWS's program of this name. README.md says what
// differs.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/mdlayher/vsock"

	"github.com/nitrolab/nitrolab/guest/nitrocli"
	"github.com/nitrolab/nitrolab/guest/nitrocli/enclaveproc"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == processCommand {
		os.Exit(enclaveProcess(enclaveproc.Config{}))
	}
	os.Exit(environment(os.Stdout, os.Stderr).Main(context.Background(), os.Args[1:]))
}

// environment is this machine.
func environment(stdout, stderr io.Writer) *nitrocli.Env {
	return &nitrocli.Env{
		Stdout: stdout, Stderr: stderr, LookupEnv: os.LookupEnv,
		Spawn: spawn, DialVsock: dialVsock, Now: time.Now,
	}
}

func dialVsock(ctx context.Context, cid, port uint32) (net.Conn, error) {
	c, err := vsock.DialContext(ctx, cid, port, nil)
	if err != nil {
		return nil, err // not a nil *vsock.Conn in a net.Conn
	}
	return c, nil
}

// enclaveProcess is the process that looks after one enclave, until it ends. The
// environment completes cfg.
func enclaveProcess(cfg enclaveproc.Config) int {
	// Stopping it ends its enclave. The session of the user who started it
	// does not: spawn has given it one of its own.
	ctx, stop := signal.NotifyContext(context.Background(),
		syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// Started as /proc/self/exe, it would be "exe" to ps and killall.
	_ = os.WriteFile("/proc/self/comm", []byte("nitro-cli"), 0)
	conn, err := inherited()
	if err != nil {
		fmt.Fprintf(os.Stderr, "nitro-cli %s: %v; nitro-cli run-enclave starts it\n", processCommand, err)
		return 1
	}
	e := nitrocli.Env{LookupEnv: os.LookupEnv}
	log, file := e.OpenLog()
	if file != nil {
		defer file.Close()
		// Nobody sees the standard error of this process.
		_ = debug.SetCrashOutput(file, debug.CrashOptions{})
	}
	cfg.SocketsDir, cfg.Log = e.SocketsDir(), log
	if err := enclaveproc.Serve(ctx, conn, cfg); err != nil {
		return 1
	}
	return 0
}
