package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/ca"
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
	var awsNames, services, documents bool
	cmd := &cobra.Command{
		Use:   "root-certificate",
		Short: "Print the root certificate of this machine's emulated host (PEM)",
		Long: `root-certificate prints the certificate that the documents of enclaves started
by nitrolab run-enclave chain up to. Its subject says that it is emulated.

It is made once and kept in $XDG_STATE_HOME/nitrolab/host.json, together with
the instance id, so that a client can be given it once.

--services prints the CA of the key service instead. It goes into the CA bundle of
an enclave image that is to reach the key service, such as
/etc/ssl/certs/ca-certificates.crt, and is measured there; an instance has it.

--identity-documents prints the certificate that signs instance identity documents.
Verifiers pin it as they pin AWS's for a region.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			id, err := hostIdentity()
			if err != nil {
				return err
			}
			text, err := rootPEM(id, namesFlag(awsNames), services, documents)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&awsNames, "aws-names", false, "the root of enclaves started with --aws-names")
	flags.BoolVar(&services, "services", false, "the CA of the key service")
	flags.BoolVar(&documents, "identity-documents", false, "the certificate of instance identity documents")
	cmd.MarkFlagsMutuallyExclusive("aws-names", "services", "identity-documents")
	return cmd
}

// rootPEM is one of the certificates that clients of a Host pin.
func rootPEM(id emulator.Identity, names attestation.Names, services, documents bool) ([]byte, error) {
	if !services && !documents {
		a, err := hostAuthority(id, names)
		if err != nil {
			return nil, err
		}
		return a.RootPEM(), nil
	}
	a, err := ca.New(id.Seed, nil)
	if err != nil {
		return nil, err
	}
	if services {
		return a.RootPEM(), nil
	}
	_, cert, err := a.IdentitySigner(id.Region)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), nil
}
