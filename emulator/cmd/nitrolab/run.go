package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/forward"
	"github.com/nitrolab/nitrolab/emulator/supervisor"
)

// runInfo is what nitro-cli prints for run-enclave.
type runInfo struct {
	EnclaveName  string
	EnclaveID    string
	ProcessID    int
	EnclaveCID   uint32
	NumberOfCPUs int
	CPUIDs       []int
	MemoryMiB    int
}

type runFlags struct {
	order    supervisor.Order
	config   string
	cpuIDs   []int
	attach   bool
	awsNames bool
}

func newRunEnclave() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run-enclave --eif-path FILE --memory MIB --cpu-count N",
		Short: "Start an enclave and return when it has sent its heartbeat",
		Long: `run-enclave boots an enclave image and returns when the enclave has sent its
heartbeat. The enclave goes on until terminate-enclave or until it ends itself;
a process of its own looks after it. Flags and output are those of nitro-cli.

--forward joins a vsock port with a TCP or unix socket of this machine. It
listens on the left side and dials the right side; one of them is vsock. A vsock
port on the left is the parent's (CID 3, for the enclave); on the right it is
the enclave's.`,
		Example: `  nitrolab run-enclave --eif-path app.eif --memory 512 --cpu-count 2
  nitrolab run-enclave --eif-path app.eif --memory 512 --cpu-count 2 --debug-mode \
      --forward tcp:127.0.0.1:8080=vsock:5005 --forward vsock:8000=tcp:127.0.0.1:443`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	e := &f.order.Enclave
	flags := cmd.Flags()
	flags.StringVar(&e.EIFPath, "eif-path", "", "enclave image `FILE`")
	flags.IntVar(&e.MemoryMiB, "memory", 0, "memory in `MIB`: at least 64, and 4 times the image")
	flags.IntVar(&e.CPUs, "cpu-count", 0, "number of CPUs")
	flags.IntSliceVar(&f.cpuIDs, "cpu-ids", nil, "instead of --cpu-count: as many CPUs as this comma-separated list of `IDS` has")
	flags.Uint32Var(&e.CID, "enclave-cid", 0, "vsock CID of the enclave (default: a free one)")
	flags.BoolVar(&e.Debug, "debug-mode", false, "debug mode: the console can be read, and PCR0, PCR1 and PCR2 are zero")
	flags.BoolVar(&f.attach, "attach-console", false, "show the console after the start (implies --debug-mode)")
	flags.StringVar(&e.Name, "enclave-name", "", "a `NAME` of your own (default: the image's)")
	flags.StringVar(&f.config, "config", "", "read the settings from a JSON `FILE`, as nitro-cli does")
	flags.StringArrayVar(&f.order.Forwards, "forward", nil, "join sockets, `LISTEN=DIAL`; may be repeated")
	flags.StringVar(&f.order.Role, "role", "", "`ARN` of the parent's IAM role, the source of PCR3")
	flags.BoolVar(&f.awsNames, "aws-names", false, "give certificates AWS's exact subject names (they still do not chain to AWS's root)")
	flags.Var(&formValue{&e.Form}, "machine", "`FORM` of the machine: auto, acpi or cmdline")
	flags.DurationVar(&e.HangTimeout, "hang-timeout", 0, "end an enclave whose kernel has not answered for this long; negative: never (default 1m, more without KVM)")
	addToolFlags(cmd, &f.order.Accel, &f.order.QEMU)
	for _, other := range []string{"eif-path", "memory", "cpu-count", "cpu-ids", "enclave-cid", "debug-mode", "enclave-name"} {
		cmd.MarkFlagsMutuallyExclusive("config", other)
	}
	cmd.MarkFlagsMutuallyExclusive("cpu-count", "cpu-ids")
	return cmd
}

func (f *runFlags) run(cmd *cobra.Command) error {
	e := &f.order.Enclave
	if f.config != "" {
		if err := f.readConfig(f.config); err != nil {
			return err
		}
	}
	// Which CPUs they are makes no difference without a parent to take them from.
	if e.CPUs == 0 {
		e.CPUs = len(f.cpuIDs)
	}
	for _, required := range []struct {
		name    string
		missing bool
	}{
		{"--eif-path", e.EIFPath == ""},
		{"--memory", e.MemoryMiB == 0},
		{"--cpu-count", e.CPUs == 0},
	} {
		if required.missing {
			return &exitError{code: 2, msg: required.name + " is missing"}
		}
	}
	for _, text := range f.order.Forwards {
		if _, err := forward.Parse(text); err != nil {
			return &exitError{code: 2, msg: err.Error()}
		}
	}
	e.Debug = e.Debug || f.attach
	f.order.Names = namesFlag(f.awsNames)
	// The supervisor works in the folder of the caller.
	var err error
	if e.EIFPath, err = filepath.Abs(e.EIFPath); err != nil {
		return err
	}
	if f.order.ArtifactsDir, err = filepath.Abs(artifactsDir); err != nil {
		return err
	}

	p := newPrinter(cmd.ErrOrStderr())
	d, err := supervisor.Spawn(cmd.Context(), f.order, func(text string) { p.line("%s", text) })
	if err != nil {
		return err
	}
	for _, fw := range d.Forwards {
		p.line("forwarding %s", fw)
	}
	i := d.Enclave
	err = printJSON(cmd.OutOrStdout(), runInfo{
		EnclaveName: i.EnclaveName, EnclaveID: i.EnclaveID, ProcessID: i.ProcessID, EnclaveCID: i.EnclaveCID,
		NumberOfCPUs: i.NumberOfCPUs, CPUIDs: i.CPUIDs, MemoryMiB: i.MemoryMiB,
	})
	if err != nil || !f.attach {
		return err
	}
	return followConsole(cmd, i.EnclaveID, "")
}

// readConfig reads nitro-cli's --config file (common/commands_parser.rs).
func (f *runFlags) readConfig(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	defer file.Close()
	var c struct {
		EnclaveName string `json:"enclave_name"`
		CPUCount    int    `json:"cpu_count"`
		CPUIDs      []int  `json:"cpu_ids"`
		MemoryMiB   int    `json:"memory_mib"`
		EIFPath     string `json:"eif_path"`
		EnclaveCID  uint32 `json:"enclave_cid"`
		DebugMode   bool   `json:"debug_mode"`
		Attach      bool   `json:"attach_console"`
	}
	d := json.NewDecoder(io.LimitReader(file, 1<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return fmt.Errorf("--config %s: %w", path, err)
	}
	if c.CPUCount != 0 && c.CPUIDs != nil {
		return errors.New("--config " + path + ": cpu_count and cpu_ids are both set; one is allowed")
	}
	f.cpuIDs, f.attach = c.CPUIDs, f.attach || c.Attach
	e := &f.order.Enclave
	e.Name, e.CPUs, e.MemoryMiB, e.EIFPath, e.CID, e.Debug = c.EnclaveName, c.CPUCount, c.MemoryMiB, c.EIFPath, c.EnclaveCID, c.DebugMode
	return nil
}

// formValue is emulator.Form as a flag.
type formValue struct{ form *emulator.Form }

func (v *formValue) String() string {
	if v.form == nil {
		return ""
	}
	return v.form.String()
}

func (v *formValue) Set(text string) (err error) {
	*v.form, err = emulator.ParseForm(text)
	return err
}

func (v *formValue) Type() string { return "form" }
