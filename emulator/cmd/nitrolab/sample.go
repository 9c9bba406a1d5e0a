package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/sample"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

func newEIFSample() *cobra.Command {
	var output string
	var shell bool
	cmd := &cobra.Command{
		Use:   "sample --output-file FILE",
		Short: "Write the sample enclave image (make sample-eif)",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			parts := toolchain.PartKernel
			if shell {
				parts |= toolchain.PartBusybox
			}
			tools, err := findToolsShowing(cmd.Context(), parts, "")
			if err != nil {
				return err
			}
			result, err := buildSample(cmd.Context(), tools, shell, output)
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), result)
		},
	}
	cmd.Flags().StringVar(&output, "output-file", "", "the image `FILE` to write (required)")
	_ = cmd.MarkFlagRequired("output-file")
	cmd.Flags().BoolVar(&shell, "shell", false, "the image of make shell instead, with a shell and the nsm command")
	return cmd
}

// buildSample writes one of the two images that nitrolab brings along.
func buildSample(ctx context.Context, tools *toolchain.Toolchain, shell bool, output string) (*bundle.Result, error) {
	kernel := bundle.Kernel{Image: tools.Kernel.Image, Modules: tools.Kernel.ModulesDir}
	var spec bundle.Spec
	var err error
	if shell {
		spec, err = sample.Shell(ctx, kernel, tools.Busybox)
	} else {
		spec, err = sample.Attest(ctx, kernel)
	}
	if err != nil {
		return nil, err
	}
	return bundle.Build(ctx, output, spec)
}
