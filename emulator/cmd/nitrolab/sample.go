package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/images/bootable"
	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/sample"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

func newEIFSample() *cobra.Command {
	var output string
	var shell bool
	cmd := &cobra.Command{
		Use:   "sample --output-file FILE",
		Short: "Write the sample enclave image (make sample-eif)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			parts := toolchain.PartKernel
			if shell {
				parts |= toolchain.PartBusybox
			}
			tools, err := findToolsShowing(cmd.Context(), parts, "")
			if err != nil {
				return err
			}
			im, err := sampleImage(cmd.Context(), tools, shell)
			if err != nil {
				return err
			}
			defer im.Close()
			m, err := eif.BuildFile(output, im.Spec)
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), eif.BuildInfo{Measurements: m})
		},
	}
	cmd.Flags().StringVar(&output, "output-file", "", "the image `FILE` to write (required)")
	_ = cmd.MarkFlagRequired("output-file")
	cmd.Flags().BoolVar(&shell, "shell", false, "the image of make shell instead, with a shell and the nsm command")
	return cmd
}

// sampleImage lays out one of the two images that nitrolab brings along.
func sampleImage(ctx context.Context, tools *toolchain.Toolchain, shell bool) (*bootable.Image, error) {
	kernel := bootable.Kernel{Image: tools.Kernel.Image, Modules: tools.Kernel.ModulesDir}
	if shell {
		return sample.Shell(ctx, kernel, tools.Busybox)
	}
	return sample.Attest(ctx, kernel)
}
