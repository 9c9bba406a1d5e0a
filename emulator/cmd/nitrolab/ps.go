package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/emulator/supervisor"
)

func newPS() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "List what runs: instances with their enclaves, and enclaves of their own",
		Long: `ps lists the instances of this user, each with the enclaves that were started in
it, and the enclaves that were started with run-enclave.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return ps(cmd.Context(), cmd.OutOrStdout(), asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func ps(ctx context.Context, w io.Writer, asJSON bool) error {
	list, err := listAll(ctx)
	if list == nil && err != nil {
		return err
	}
	if asJSON {
		return errors.Join(printJSON(w, psInfoOf(list)), err)
	}
	newPrinter(w).running(list, time.Now())
	return err
}

// An instanceInfo is an instance as JSON.
type instanceInfo struct {
	InstanceID      string        `json:"instance_id"`
	Name            string        `json:"name"`
	InstanceType    string        `json:"instance_type"`
	State           string        `json:"state"`
	ProcessID       int           `json:"process_id"`
	QEMUProcessID   int           `json:"qemu_process_id"`
	CPUs            int           `json:"cpus"`
	MemoryMiB       int           `json:"memory_mib"`
	Kernel          string        `json:"kernel"`
	Warm            bool          `json:"warm"`
	Launched        time.Time     `json:"launched"`
	AnsweredSeconds float64       `json:"answered_seconds"`
	Enclaves        []enclaveInfo `json:"enclaves"`
}

// An enclaveInfo is an enclave as JSON, in short: describe-enclaves has it all.
type enclaveInfo struct {
	EnclaveID string `json:"enclave_id"`
	Name      string `json:"name"`
	State     string `json:"state"`
	CID       uint32 `json:"enclave_cid"`
	CPUs      int    `json:"cpus"`
	MemoryMiB int    `json:"memory_mib"`
	Debug     bool   `json:"debug_mode"`
}

// psInfo is what ps prints with --json.
type psInfo struct {
	Instances []instanceInfo `json:"instances"`
	Enclaves  []enclaveInfo  `json:"enclaves"` // that are in no instance
}

func psInfoOf(list []supervisor.Running) psInfo {
	info := psInfo{[]instanceInfo{}, []enclaveInfo{}}
	for _, r := range list {
		if r.Instance != nil {
			info.Instances = append(info.Instances, instanceInfoOf(r.Instance))
		} else {
			info.Enclaves = append(info.Enclaves, enclaveInfoOf(r.Enclave))
		}
	}
	return info
}

func instanceInfoOf(d *supervisor.InstanceDescription) instanceInfo {
	i := d.Info
	info := instanceInfo{
		InstanceID: i.InstanceID, Name: i.Name, InstanceType: i.InstanceType, State: string(i.State),
		ProcessID: i.ProcessID, QEMUProcessID: i.QEMU, CPUs: i.CPUs, MemoryMiB: i.MemoryMiB, Kernel: i.Kernel,
		Warm: i.Warm, Launched: i.Started.UTC(), AnsweredSeconds: i.Answered.Seconds(), Enclaves: []enclaveInfo{},
	}
	for _, e := range d.Enclaves {
		info.Enclaves = append(info.Enclaves, enclaveInfoOf(&e))
	}
	return info
}

func enclaveInfoOf(e *emulator.EnclaveInfo) enclaveInfo {
	return enclaveInfo{
		EnclaveID: e.EnclaveID, Name: e.EnclaveName, State: string(e.State), CID: e.EnclaveCID,
		CPUs: e.NumberOfCPUs, MemoryMiB: e.MemoryMiB, Debug: e.Flags == debugFlag,
	}
}

// debugFlag is nitro-cli's word for an enclave in debug mode.
const debugFlag = "DEBUG_MODE"

// running prints the table of what runs. Enclaves of an instance stand below it.
func (p *printer) running(list []supervisor.Running, now time.Time) {
	if len(list) == 0 {
		p.line("nothing runs; nitrolab launch starts an instance, nitrolab run-enclave an enclave")
		return
	}
	rows := []table.Row{{"id", "name", "type", "state", "CPUs", "memory", "CID", "mode", "up"}}
	for _, r := range list {
		if r.Instance == nil {
			rows = append(rows, enclaveRow(r.Enclave, "", r.Enclave.EnclaveName))
			continue
		}
		i := r.Instance.Info
		name := i.Name
		if name == i.InstanceID {
			name = ""
		}
		rows = append(rows, table.Row{i.InstanceID, name, i.InstanceType, i.State, i.CPUs, mib(i.MemoryMiB), 3, warmth(i), now.Sub(i.Started).Truncate(time.Second)})
		for _, e := range r.Instance.Enclaves {
			rows = append(rows, enclaveRow(&e, "  ", "")) // the Host does not learn how it is called there
		}
	}
	p.table(rows)
}

func enclaveRow(e *emulator.EnclaveInfo, indent, name string) table.Row {
	mode := ""
	if e.Flags == debugFlag {
		mode = "debug"
	}
	return table.Row{indent + e.EnclaveID, printableLine([]byte(name)), "enclave", e.State, e.NumberOfCPUs, mib(e.MemoryMiB), e.EnclaveCID, mode, ""}
}

func mib(n int) string { return fmt.Sprintf("%d MiB", n) }

// printableLine is what a guest said, on one line and without control characters.
func printableLine(b []byte) string { return oneLine(qemu.Printable(b)) }
