package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/emulator"
)

// identityFile keeps the Host that run-enclave emulates on this machine: the same
// one every time, so that a client can be given its root once.
func identityFile() (string, error) {
	// The place for state that is neither configuration nor cache (XDG base
	// directory specification).
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the host identity: %w; set XDG_STATE_HOME", err)
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "nitrolab", "host.json"), nil
}

// hostIdentity is the Host of this machine, which is made if there is none.
func hostIdentity() (emulator.Identity, error) {
	path, err := identityFile()
	if err != nil {
		return emulator.Identity{}, err
	}
	return emulator.LoadIdentity(path)
}

// hostAuthority is the certificate authority of a Host, under one of its two
// names.
func hostAuthority(id emulator.Identity, names attestation.Names) (*attestation.Authority, error) {
	return attestation.NewAuthority(attestation.Config{Entropy: bytes.NewReader(id.Seed), Names: names})
}

// namesFlag turns --aws-names into a choice.
func namesFlag(aws bool) attestation.Names {
	if aws {
		return attestation.NamesAWS
	}
	return attestation.NamesEmulated
}

func newRootCertificate() *cobra.Command {
	var awsNames bool
	cmd := &cobra.Command{
		Use:   "root-certificate",
		Short: "Print the root certificate of this machine's emulated host (PEM)",
		Long: `root-certificate prints the certificate that the documents of enclaves started
by nitrolab run-enclave chain up to. Its subject says that it is emulated.

It is made once and kept in $XDG_STATE_HOME/nitrolab/host.json, together with
the instance id, so that a client can be given it once.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			id, err := hostIdentity()
			if err != nil {
				return err
			}
			a, err := hostAuthority(id, namesFlag(awsNames))
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(a.RootPEM())
			return err
		},
	}
	cmd.Flags().BoolVar(&awsNames, "aws-names", false, "the root of enclaves started with --aws-names")
	return cmd
}
