package main

import (
	"context"
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
		Args:  noSubcommand,
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
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := orInterrupted(cmd.Context(), func() (description, error) { return describeEIF(path) })
			if err != nil {
				return err
			}
			for _, w := range d.warnings {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", w)
			}
			return printJSON(cmd.OutOrStdout(), d.Description)
		},
	}
	eifPathFlag(cmd, &path)
	return cmd
}

// A description is what an image says of itself, and what looks wrong with it.
type description struct {
	*eif.Description
	warnings []string
}

func describeEIF(path string) (d description, err error) {
	im, err := eif.OpenFile(path)
	if err != nil {
		return d, err
	}
	defer im.Close()
	if d.Description, err = im.Describe(time.Now()); err != nil {
		return d, err
	}
	if d.warnings, err = im.Warnings(); err != nil {
		return d, err
	}
	if d.SignatureError != nil {
		d.warnings = append(d.warnings, d.SignatureError.Error())
	}
	return d, nil
}

// measure measures an image, and refuses one whose checksum is wrong.
func measure(ctx context.Context, path string) (eif.Measurements, error) {
	return orInterrupted(ctx, func() (m eif.Measurements, err error) {
		im, err := eif.OpenFile(path)
		if err != nil {
			return m, err
		}
		defer im.Close()
		return im.Verify()
	})
}

func newEIFMeasure() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "measure --eif-path FILE",
		Short: "Print the PCRs of an image (JSON)",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := measure(cmd.Context(), path)
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
		Args:  noArgs,
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
		Args:  noArgs,
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
