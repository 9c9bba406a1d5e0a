// Command nitrolab runs the hardware under an AWS Nitro instance on an ordinary
// Linux box: it boots parent instances in which nitro-cli starts enclaves, and
// enclave images with a Nitro Security Module whose attestation documents verify.
package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// version is the release; CHANGELOG.md has what changed.
const version = "0.1.0"

func main() {
	os.Exit(run(untilSignal(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole command, and returns what the process exits with.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return exitCode(ctx, stderr, cmd, err)
}

// Groups of commands, in the order in which help shows them.
const (
	groupInstances = "instances"
	groupEnclaves  = "enclaves"
	groupImages    = "images"
	groupDocuments = "documents"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "nitrolab",
		Short: "Boot AWS Nitro instances and enclaves on any Linux box, with attestation that verifies",
		Long: `nitrolab boots AWS Nitro enclave images (EIF) under QEMU on any Linux box and
gives them a Nitro Security Module whose attestation documents verify: real
PCRs of the real image, a real signature, the five-certificate chain. It also
boots the parent instance, in which nitro-cli and the unmodified nitro_enclaves
driver start enclaves.

It emulates protocol and policy behaviour, not the strength of hardware. The
root of its certificates is its own and says so. Not affiliated with AWS.`,
		Example: `  nitrolab demo       an enclave boots, and its document verifies
  nitrolab shell      a parent instance, in which nitro-cli starts enclaves
  nitrolab launch     the same, to stay
  nitrolab run-enclave --eif-path app.eif --memory 512 --cpu-count 2`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noSubcommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddGroup(
		&cobra.Group{ID: groupInstances, Title: "Parent instances, and all that runs:"},
		&cobra.Group{ID: groupEnclaves, Title: "Enclaves, as nitro-cli has them:"},
		&cobra.Group{ID: groupImages, Title: "Images:"},
		&cobra.Group{ID: groupDocuments, Title: "Attestation documents, and keys for who has one:"},
	)
	group := func(id string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = id
		}
		root.AddCommand(commands...)
	}
	group(groupInstances, newLaunch(), newShell(), newPS(), newCP(), newTerminate())
	group(groupEnclaves, newRunEnclave(), newDescribeEnclaves(), newConsole(), newTerminateEnclave())
	group(groupImages, newEIF())
	group(groupDocuments, newDemo(), newVerify(), newRootCertificate(), newVectors(), newKMS())
	root.AddCommand(newToolchain(), newSupervise())
	markRun(root)
	return root
}
