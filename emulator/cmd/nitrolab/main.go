// Command nitrolab runs the hardware under an AWS Nitro instance on an ordinary
// Linux box: it boots enclave images and gives them a Nitro Security Module
// whose attestation documents verify.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator"
)

// version is the release; CHANGELOG.md has what changed.
const version = "0.1.0"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := newRoot().ExecuteContext(ctx)
	stop()
	os.Exit(exitCode(err))
}

// exitError ends the command with a code of its own. Its message is printed
// unless it is empty, which means that the command has said all there is.
type exitError struct {
	code int
	msg  string
}

func (e *exitError) Error() string { return e.msg }

// exitCode prints err and says what the process exits with: 1 for a refusal or
// a failure, 130 after Ctrl-C as shells expect.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	var exit *exitError
	if errors.As(err, &exit) {
		if exit.msg != "" {
			fmt.Fprintf(os.Stderr, "nitrolab: %s\n", exit.msg)
		}
		return exit.code
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "nitrolab: interrupted")
		return 130
	}
	fmt.Fprintf(os.Stderr, "nitrolab: %s\n", emulator.Report(err))
	return 1
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "nitrolab",
		Short: "Boot AWS Nitro enclave images on any Linux box, with attestation that verifies",
		Long: `nitrolab boots AWS Nitro enclave images (EIF) under QEMU on any Linux box and
gives them a Nitro Security Module whose attestation documents verify: real
PCRs of the real image, a real signature, the five-certificate chain.

It emulates protocol and policy behaviour, not the strength of hardware. The
root of its certificates is its own and says so. Not affiliated with AWS.`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newDemo(),
		newRunEnclave(),
		newDescribeEnclaves(),
		newConsole(),
		newTerminateEnclave(),
		newShell(),
		newEIF(),
		newVerify(),
		newRootCertificate(),
		newToolchain(),
		newSupervise(),
	)
	return root
}
