package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

type buildFlags struct {
	output string

	// One of these is the application.
	binary, directory, archive string

	tag       string
	dockerCmd bool
	env       []string

	kernel, modules, init, cmdline string

	name, version, metadata string
	sign                    signFlags
}

func newEIFBuild() *cobra.Command {
	var f buildFlags
	cmd := &cobra.Command{
		Use:   "build --output-file FILE (--binary FILE | --directory DIR | --oci FILE) [-- COMMAND ARGS…]",
		Short: "Make a bootable image from a static binary, a directory or an OCI archive",
		Long: `build makes an enclave image that boots, without docker, and prints its PCRs as
nitro-cli build-enclave does.

  --binary     a statically linked program; words after -- are its arguments
  --directory  a root file system; words after -- are the command to run in it
  --oci        what docker save writes, or an OCI image layout (archive or folder);
               words after -- replace its command

The layout is nitro-cli's: one ramdisk that boots, one with the application.
Equal inputs give equal bytes, so equal PCRs, on any machine. Kernel and modules
are those of the tool chain unless --kernel names others; a kernel without
modules needs everything built in.`,
		Example: `  nitrolab eif build --binary ./app --output-file app.eif
  nitrolab eif build --oci app.tar --output-file app.eif --name app --version 2
  nitrolab eif build --directory rootfs --output-file app.eif -- /usr/bin/server --port 5005`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.output, "output-file", "", "the image `FILE` to write (required)")
	_ = cmd.MarkFlagRequired("output-file")
	flags.StringVar(&f.binary, "binary", "", "a static program `FILE`")
	flags.StringVar(&f.directory, "directory", "", "a root file system `DIR`")
	flags.StringVar(&f.archive, "oci", "", "a container image, `FILE` or folder")
	cmd.MarkFlagsOneRequired("binary", "directory", "oci")
	cmd.MarkFlagsMutuallyExclusive("binary", "directory", "oci")
	flags.StringVar(&f.tag, "tag", "", "the image with this `TAG`, if the archive holds several")
	flags.BoolVar(&f.dockerCmd, "docker-command", false, "run ENTRYPOINT and CMD as docker does (default: CMD alone, as nitro-cli does)")
	flags.StringArrayVar(&f.env, "env", nil, "an environment variable `NAME=VALUE`; may be repeated")
	flags.StringVar(&f.kernel, "kernel", "", "kernel `FILE`, a bzImage (default: the tool chain's)")
	flags.StringVar(&f.modules, "kernel-modules", "", "lib/modules/RELEASE `DIR` of --kernel")
	flags.StringVar(&f.init, "init", "", "the program `FILE` to run as PID 1 (default: nitrolab's)")
	flags.StringVar(&f.cmdline, "cmdline", bundle.Cmdline, "kernel `COMMAND LINE`")
	flags.StringVar(&f.name, "name", "", "name of the image in its metadata")
	flags.StringVar(&f.version, "version", "", "version of the image in its metadata")
	flags.StringVar(&f.metadata, "metadata", "", "a JSON `FILE` with metadata of your own")
	f.sign.add(cmd)
	return cmd
}

func (f *buildFlags) run(cmd *cobra.Command, args []string) error {
	spec, err := f.spec(cmd.Context(), args)
	if err != nil {
		return err
	}
	result, err := bundle.Build(cmd.Context(), f.output, spec)
	if err != nil {
		return err
	}
	for _, w := range result.Warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", w)
	}
	return printJSON(cmd.OutOrStdout(), result)
}

func (f *buildFlags) spec(ctx context.Context, args []string) (bundle.Spec, error) {
	spec := bundle.Spec{
		Arch:        eif.X86_64,
		Cmdline:     f.cmdline,
		Name:        f.name,
		Version:     f.version,
		Tool:        "nitrolab",
		ToolVersion: version,
	}
	switch {
	case f.binary != "":
		spec.App = bundle.Binary{Path: f.binary, Args: args, Env: f.env}
	case f.directory != "":
		spec.App = bundle.Directory{Path: f.directory, Cmd: args, Env: f.env}
	default:
		spec.App = bundle.Archive{Path: f.archive, Tag: f.tag, Cmd: args, DockerCommand: f.dockerCmd, Env: f.env}
	}
	var err error
	if spec.CustomMetadata, err = readMetadata(f.metadata); err != nil {
		return spec, err
	}
	if spec.Signer, err = f.sign.signer(); err != nil {
		return spec, err
	}
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		if spec.BuildTime, err = eif.ParseSourceDateEpoch(epoch); err != nil {
			return spec, err
		}
	}
	if f.init != "" {
		if spec.Bootstrap.Init, err = os.ReadFile(f.init); err != nil {
			return spec, err
		}
	}
	spec.Kernel = bundle.Kernel{Image: f.kernel, Modules: f.modules}
	if f.kernel == "" {
		tools, err := findToolsShowing(ctx, toolchain.PartKernel, "")
		if err != nil {
			return spec, err
		}
		spec.Kernel = bundle.Kernel{Image: tools.Kernel.Image, Modules: tools.Kernel.ModulesDir}
	}
	return spec, nil
}
