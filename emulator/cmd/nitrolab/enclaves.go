package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

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
	ImageName    string          `json:",omitempty"`
	ImageVersion string          `json:",omitempty"`
	Metadata     json.RawMessage `json:",omitempty"`
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
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			running, err := listEnclaves(cmd.Context())
			if running == nil && err != nil {
				return err
			}
			list := []describeInfo{}
			for _, r := range running {
				list = append(list, describeEnclave(r, metadata))
			}
			return errors.Join(printJSON(cmd.OutOrStdout(), list), err)
		},
	}
	cmd.Flags().BoolVar(&metadata, "metadata", false, "add the metadata of the images")
	return cmd
}

func describeEnclave(r supervisor.Running, metadata bool) describeInfo {
	i := r.Enclave
	d := describeInfo{
		EnclaveName: i.EnclaveName, EnclaveID: i.EnclaveID, ProcessID: i.ProcessID, EnclaveCID: i.EnclaveCID,
		NumberOfCPUs: i.NumberOfCPUs, CPUIDs: i.CPUIDs, MemoryMiB: i.MemoryMiB,
		State: string(i.State), Flags: i.Flags, Measurements: i.Measurements,
	}
	if metadata {
		d.ImageName, d.ImageVersion, d.Metadata = i.ImageName, i.ImageVersion, r.Metadata
	}
	return d
}

// listEnclaves are the enclaves of this user's Host, without those in instances:
// with an error it may still have some of them.
func listEnclaves(ctx context.Context) ([]supervisor.Running, error) {
	list, err := listAll(ctx)
	if list == nil {
		return nil, err
	}
	return supervisor.Enclaves(list), err
}

func newTerminateEnclave() *cobra.Command {
	var t target
	var all bool
	cmd := &cobra.Command{
		Use:   "terminate-enclave (--enclave-id ID | --enclave-name NAME | --all)",
		Short: "End an enclave (JSON)",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if all {
				return terminateAll(cmd)
			}
			r, err := t.find(cmd.Context())
			if err != nil {
				return err
			}
			info, err := terminate(cmd.Context(), r)
			return errors.Join(printJSON(cmd.OutOrStdout(), info), err)
		},
	}
	t.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "end every enclave of this user")
	cmd.MarkFlagsOneRequired("enclave-id", "enclave-name", "all")
	cmd.MarkFlagsMutuallyExclusive("enclave-id", "enclave-name", "all")
	return cmd
}

// terminateAll prints an array, as nitro-cli does.
func terminateAll(cmd *cobra.Command) error {
	running, err := listEnclaves(cmd.Context())
	if running == nil && err != nil {
		return err
	}
	list := make([]terminateInfo, len(running))
	errs := make([]error, len(running))
	var group sync.WaitGroup
	for i, r := range running {
		group.Go(func() { list[i], errs[i] = terminate(cmd.Context(), r) })
	}
	group.Wait()
	return errors.Join(printJSON(cmd.OutOrStdout(), list), err, errors.Join(errs...))
}

func terminate(ctx context.Context, r supervisor.Running) (terminateInfo, error) {
	err := r.Terminate(ctx)
	if errors.Is(err, supervisor.ErrGone) {
		err = nil // it ended by itself, or somebody else was faster
	}
	if err != nil {
		err = fmt.Errorf("terminate %s: %w", r.ID(), err)
	}
	return terminateInfo{r.Enclave.EnclaveName, r.Enclave.EnclaveID, err == nil}, err
}
