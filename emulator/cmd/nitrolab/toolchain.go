package main

import (
	"cmp"
	"context"
	"errors"
	"os"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

// add adds the flags to a command.
func (f *toolFlags) add(cmd *cobra.Command) {
	f.accel = string(qemu.ChooseAuto)
	cmd.Flags().Func("accel", "run guests by `HOW`: auto (default), kvm or tcg; auto takes KVM if a probe guest really runs", func(text string) error {
		if _, err := qemu.ParseChoice(text); err != nil {
			return errors.New("allowed are auto, kvm and tcg")
		}
		f.accel = text
		return nil
	})
	cmd.Flags().StringVar(&f.qemu, "qemu", "", "QEMU `PROGRAM` to use (default: $"+toolchain.EnvQEMU+", the system's if it will do, else Debian's in the cache)")
}

// findTools finds the tool chain, telling progress to p.
func findTools(ctx context.Context, parts toolchain.Part, qemuPath string, p toolchain.Progress) (*toolchain.Toolchain, error) {
	return toolchain.Find(ctx, toolchain.Options{Parts: parts, QEMU: qemuPath, Progress: p})
}

// findToolsShowing is findTools with progress on standard error.
func findToolsShowing(ctx context.Context, parts toolchain.Part, qemuPath string) (_ *toolchain.Toolchain, err error) {
	p := toolchain.NewProgress(os.Stderr)
	defer p.Close()
	return findTools(ctx, parts, qemuPath, p)
}

func newToolchain() *cobra.Command {
	var f toolchainFlags
	cmd := &cobra.Command{
		Use:   "toolchain",
		Short: "Show the QEMU, kernel and accelerator in use; fetch them once if need be",
		Long: `toolchain shows the QEMU and the guest kernel that nitrolab uses, and fetches
them if they are not there yet: Debian packages, unpacked into a cache of your
own ($` + toolchain.EnvCache + `, else the user's cache folder). Nothing is installed.

  ` + toolchain.EnvQEMU + `            a QEMU of your own (>= 10.2)
  ` + toolchain.EnvKernel + `, ` + toolchain.EnvKernelModules + `
                           a guest kernel of your own and its lib/modules/RELEASE
  ` + toolchain.EnvMirror + `   a mirror of the Debian archive, for other hosts
  ` + toolchain.EnvKeyring + `  the file with Debian's archive keys, likewise`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd)
		},
	}
	f.tools.add(cmd)
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON object, with all packages")
	cmd.Flags().BoolVar(&f.packages, "packages", false, "list all packages that the parts were made from")
	cmd.Flags().BoolVar(&f.verify, "verify", false, "compare every file in the cache and repair what is damaged")
	cmd.Flags().BoolVar(&f.update, "update", false, "fetch what the archive has now")
	cmd.MarkFlagsMutuallyExclusive("verify", "update")
	return cmd
}

type toolchainFlags struct {
	tools                          toolFlags
	json, packages, verify, update bool
}

func (f *toolchainFlags) run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	progress := toolchain.NewProgress(os.Stderr)
	defer progress.Close()
	opts := toolchain.Options{QEMU: f.tools.qemu, Progress: progress}
	var tools *toolchain.Toolchain
	var repaired []string
	var changes []toolchain.Change
	var err error
	switch {
	case f.verify:
		tools, repaired, err = toolchain.Verify(ctx, opts)
	case f.update:
		tools, changes, err = toolchain.Update(ctx, opts)
	default:
		tools, err = toolchain.Find(ctx, opts)
	}
	if err != nil {
		return err
	}
	a, err := chooseAccel(ctx, tools, f.tools.accel)
	if err != nil {
		return err
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), toolchainInfo{a.String(), tools.Records(), notNil(repaired), notNil(changes)})
	}
	p := newPrinter(cmd.OutOrStdout())
	for _, r := range repaired {
		p.line("repaired: %s", r)
	}
	for _, c := range changes {
		p.line("updated: %s from %s to %s", c.Package, cmp.Or(c.Old, "none"), cmp.Or(c.New, "none"))
	}
	p.records(tools.Records(), f.packages)
	p.line("accelerator: %s", a)
	return nil
}

// records prints a table of the parts, and with all of the packages that these
// were made from.
func (p *printer) records(records []toolchain.Record, all bool) {
	rows := []table.Row{{"part", "source", "version", "package", "suite", "sha256"}}
	more := 0
	for _, r := range records {
		if r.Path == "" && !all {
			more++
			continue
		}
		rows = append(rows, table.Row{r.Part, r.Source, r.Version, r.Package, r.Suite, r.SHA256})
	}
	p.table(rows)
	if more > 0 {
		p.line("packages that these need: %d (--packages lists them)", more)
	}
}

// toolchainInfo is the table as JSON.
type toolchainInfo struct {
	Accel    string             `json:"accel"`
	Parts    []toolchain.Record `json:"parts"`
	Repaired []string           `json:"repaired"`
	Changes  []toolchain.Change `json:"changes"`
}

// notNil keeps an empty list from becoming null.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// chooseAccel says how guests run: as wanted, or by a probe whose answer is
// remembered until the machine is booted again.
func chooseAccel(ctx context.Context, tools *toolchain.Toolchain, wanted string) (qemu.Accel, error) {
	choice, err := qemu.ParseChoice(wanted)
	if err != nil {
		return qemu.Accel{}, err
	}
	dir, err := toolchain.CacheDir()
	if err != nil {
		return qemu.Accel{}, err
	}
	return qemu.ProbeAccel(ctx, qemu.ProbeConfig{
		Choice:   choice,
		Binary:   tools.QEMU.Argv,
		Env:      tools.QEMU.Env,
		Kernel:   tools.Kernel.Image,
		CacheDir: dir,
	})
}
