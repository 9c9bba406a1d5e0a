package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/images/eif"
)

func newEIF() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "eif",
		Short: "Build, describe, measure, sign and take apart enclave image files",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newEIFBuild(), newEIFDescribe(), newEIFMeasure(), newEIFSign(), newEIFExtract(), newEIFSample())
	return cmd
}

// eifPathFlag adds nitro-cli's --eif-path.
func eifPathFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "eif-path", "", "enclave image `FILE` (required)")
	_ = cmd.MarkFlagRequired("eif-path")
}

func newEIFDescribe() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "describe --eif-path FILE",
		Short: "Print what an image says of itself, as nitro-cli describe-eif does (JSON)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			im, err := eif.OpenFile(path)
			if err != nil {
				return err
			}
			defer im.Close()
			d, err := im.Describe(time.Now())
			if err != nil {
				return err
			}
			warnings, err := im.Warnings()
			if err != nil {
				return err
			}
			for _, w := range warnings {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", w)
			}
			if d.SignatureError != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %v\n", d.SignatureError)
			}
			return printJSON(cmd.OutOrStdout(), d)
		},
	}
	eifPathFlag(cmd, &path)
	return cmd
}

func newEIFMeasure() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "measure --eif-path FILE",
		Short: "Print the PCRs of an image (JSON)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			im, err := eif.OpenFile(path)
			if err != nil {
				return err
			}
			defer im.Close()
			m, err := im.Verify()
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), eif.BuildInfo{Measurements: m})
		},
	}
	eifPathFlag(cmd, &path)
	return cmd
}

// signFlags are nitro-cli's two for a signature.
type signFlags struct{ certificate, key string }

func (f *signFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.certificate, "signing-certificate", "", "sign with this certificate, a PEM `FILE`")
	cmd.Flags().StringVar(&f.key, "private-key", "", "EC private key of the certificate, a PEM `FILE`")
	cmd.MarkFlagsRequiredTogether("signing-certificate", "private-key")
}

// signer is nil if no signature is asked for.
func (f *signFlags) signer() (*eif.Signer, error) {
	if f.certificate == "" {
		return nil, nil
	}
	certificate, err := os.ReadFile(f.certificate)
	if err != nil {
		return nil, fmt.Errorf("--signing-certificate: %w", err)
	}
	key, err := os.ReadFile(f.key)
	if err != nil {
		return nil, fmt.Errorf("--private-key: %w", err)
	}
	return eif.NewSigner(certificate, key)
}

func newEIFSign() *cobra.Command {
	var path, output string
	var sign signFlags
	cmd := &cobra.Command{
		Use:   "sign --eif-path FILE --signing-certificate FILE --private-key FILE",
		Short: "Sign an image; an earlier signature is replaced",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			signer, err := sign.signer()
			if err != nil {
				return err
			}
			if output == "" {
				output = path
			}
			m, err := eif.SignFile(output, path, signer)
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), eif.BuildInfo{Measurements: m})
		},
	}
	eifPathFlag(cmd, &path)
	sign.add(cmd)
	_ = cmd.MarkFlagRequired("signing-certificate")
	cmd.Flags().StringVar(&output, "output-file", "", "write the signed image to this `FILE` (default: in place)")
	return cmd
}

func newEIFExtract() *cobra.Command {
	var path, dir string
	var force bool
	cmd := &cobra.Command{
		Use:   "extract --eif-path FILE --output-dir DIR",
		Short: "Write the sections of an image into files",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			im, err := eif.OpenFile(path)
			if err != nil {
				return err
			}
			defer im.Close()
			names, err := eif.Extract(im.Image, dir, force)
			if err != nil {
				return err
			}
			for _, name := range names {
				fmt.Fprintln(cmd.OutOrStdout(), name)
			}
			return nil
		},
	}
	eifPathFlag(cmd, &path)
	cmd.Flags().StringVar(&dir, "output-dir", "", "the `DIR` to write into (required)")
	_ = cmd.MarkFlagRequired("output-dir")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite files that exist")
	return cmd
}

// readMetadata reads the user's own metadata, nil for no file. eif.Build checks
// its form.
func readMetadata(path string) (json.RawMessage, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--metadata: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, eif.MaxCustomMetadata+1))
	if err != nil {
		return nil, fmt.Errorf("--metadata: %w", err)
	}
	return text, nil
}
