package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator/supervisor"
	"github.com/nitrolab/nitrolab/images/eif"
)

// describeInfo is one element of what nitro-cli prints for describe-enclaves.
type describeInfo struct {
	EnclaveName  string `json:",omitempty"`
	EnclaveID    string
	ProcessID    int
	EnclaveCID   uint32
	NumberOfCPUs int
	CPUIDs       []int
	MemoryMiB    int
	State        string
	Flags        string
	Measurements eif.Measurements
	ImageName    string            `json:",omitempty"`
	ImageVersion string            `json:",omitempty"`
	Metadata     *eif.MetadataInfo `json:",omitempty"`
}

// terminateInfo is what nitro-cli prints for terminate-enclave.
type terminateInfo struct {
	EnclaveName string `json:",omitempty"`
	EnclaveID   string
	Terminated  bool
}

// target names one enclave, by nitro-cli's flags.
type target struct{ id, name string }

func (t *target) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.id, "enclave-id", "", "the enclave with this `ID`")
	cmd.Flags().StringVar(&t.name, "enclave-name", "", "the enclave with this `NAME`")
}

func (t *target) find(ctx context.Context) (supervisor.Running, error) {
	base, err := supervisor.BaseDir()
	if err != nil {
		return supervisor.Running{}, err
	}
	return supervisor.Find(ctx, base, t.id, t.name)
}

func newDescribeEnclaves() *cobra.Command {
	var metadata bool
	cmd := &cobra.Command{
		Use:   "describe-enclaves",
		Short: "List the running enclaves (JSON)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := supervisor.BaseDir()
			if err != nil {
				return err
			}
			running, err := supervisor.List(cmd.Context(), base)
			if err != nil {
				return err
			}
			list := []describeInfo{}
			for _, r := range running {
				i := r.Enclave
				d := describeInfo{
					EnclaveName: i.EnclaveName, EnclaveID: i.EnclaveID, ProcessID: i.ProcessID, EnclaveCID: i.EnclaveCID,
					NumberOfCPUs: i.NumberOfCPUs, CPUIDs: i.CPUIDs, MemoryMiB: i.MemoryMiB,
					State: string(i.State), Flags: i.Flags, Measurements: i.Measurements,
				}
				if metadata {
					d.ImageName, d.ImageVersion, d.Metadata = i.ImageName, i.ImageVersion, i.Metadata
				}
				list = append(list, d)
			}
			return printJSON(cmd.OutOrStdout(), list)
		},
	}
	cmd.Flags().BoolVar(&metadata, "metadata", false, "add the metadata of the images")
	return cmd
}

func newTerminateEnclave() *cobra.Command {
	var t target
	var all bool
	cmd := &cobra.Command{
		Use:   "terminate-enclave --enclave-id ID",
		Short: "End an enclave (JSON)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			running, err := t.list(cmd.Context(), all)
			if err != nil {
				return err
			}
			var errs []error
			for _, r := range running {
				err := r.Terminate(cmd.Context())
				if err != nil {
					errs = append(errs, fmt.Errorf("terminate %s: %w", r.Enclave.EnclaveID, err))
				}
				info := terminateInfo{r.Enclave.EnclaveName, r.Enclave.EnclaveID, err == nil}
				if err := printJSON(cmd.OutOrStdout(), info); err != nil {
					return err
				}
			}
			return errors.Join(errs...)
		},
	}
	t.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "end every enclave of this user")
	cmd.MarkFlagsOneRequired("enclave-id", "enclave-name", "all")
	cmd.MarkFlagsMutuallyExclusive("enclave-id", "enclave-name", "all")
	return cmd
}

func (t *target) list(ctx context.Context, all bool) ([]supervisor.Running, error) {
	if all {
		base, err := supervisor.BaseDir()
		if err != nil {
			return nil, err
		}
		return supervisor.List(ctx, base)
	}
	r, err := t.find(ctx)
	return []supervisor.Running{r}, err
}

func newConsole() *cobra.Command {
	var t target
	var seconds uint
	cmd := &cobra.Command{
		Use:   "console --enclave-id ID",
		Short: "Show the console of a debug enclave, from its start and as it grows",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if seconds > 0 {
				ctx, cancel := context.WithTimeout(cmd.Context(), time.Duration(seconds)*time.Second)
				defer cancel()
				cmd.SetContext(ctx)
			}
			err := followConsole(cmd, t.id, t.name)
			if errors.Is(err, context.DeadlineExceeded) {
				return nil
			}
			return err
		},
	}
	t.add(cmd)
	cmd.MarkFlagsOneRequired("enclave-id", "enclave-name")
	cmd.MarkFlagsMutuallyExclusive("enclave-id", "enclave-name")
	cmd.Flags().UintVar(&seconds, "disconnect-timeout", 0, "stop after this many `SECONDS` (default: when the enclave ends)")
	return cmd
}

func followConsole(cmd *cobra.Command, id, name string) error {
	t := target{id, name}
	r, err := t.find(cmd.Context())
	if err != nil {
		return err
	}
	return r.Console(cmd.Context(), cmd.OutOrStdout(), true)
}
