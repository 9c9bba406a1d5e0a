package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

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
	order  supervisor.Order
	host   hostFlags
	config string
	cpuIDs []int
	attach bool
}

func newRunEnclave() *cobra.Command {
	f := runFlags{order: supervisor.Order{Enclave: &emulator.EnclaveConfig{}}}
	cmd := &cobra.Command{
		Use:   "run-enclave --eif-path FILE --memory MIB --cpu-count N",
		Short: "Start an enclave and return when it has sent its heartbeat",
		Long: `run-enclave boots an enclave image and returns when the enclave has sent its
heartbeat. The enclave goes on until terminate-enclave or until it ends itself;
a process of its own looks after it. Flags and output are those of nitro-cli.

--forward joins a vsock port with a TCP or unix socket of this machine. It
listens on the left side and dials the right side; one of them is vsock. A vsock
port on the left is the parent's (CID 3, for the enclave); on the right it is
the enclave's.

At CID 3, port 8000, where a parent has vsock-proxy, enclaves reach a key service
with the name kms.REGION.amazonaws.com, unless a forward takes the port; the CA
of nitrolab root-certificate --services has to be in their image. --kms-listen
offers it to this machine too, where keys are made with the AWS CLI or an SDK.`,
		Example: `  nitrolab run-enclave --eif-path app.eif --memory 512 --cpu-count 2
  nitrolab run-enclave --eif-path app.eif --memory 512 --cpu-count 2 --debug-mode \
      --forward tcp:127.0.0.1:8080=vsock:5005 --forward vsock:8000=tcp:127.0.0.1:443`,
		Args: f.args,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	e := f.order.Enclave
	flags := cmd.Flags()
	flags.StringVar(&e.EIFPath, "eif-path", "", "enclave image `FILE`")
	flags.Func("memory", "memory in `MIB`, or with M, G or T behind: at least 64 MiB, and 4 times the image", func(text string) (err error) {
		e.MemoryMiB, err = parseMemory(text)
		return err
	})
	numberFlag(cmd, &e.CPUs, "cpu-count", "`NUMBER` of CPUs", 1, emulator.MaxCPUs)
	flags.IntSliceVar(&f.cpuIDs, "cpu-ids", nil, "instead of --cpu-count: as many CPUs as this list of `IDS` has")
	numberFlag(cmd, &e.CID, "enclave-cid", "vsock `CID` of the enclave (default: a free one)", 0, 1<<32-1)
	flags.BoolVar(&e.Debug, "debug-mode", false, "debug mode: the console can be read, and PCR0, PCR1 and PCR2 are zero")
	flags.BoolVar(&f.attach, "attach-console", false, "show the console after the start (implies --debug-mode)")
	flags.StringVar(&e.Name, "enclave-name", "", "a `NAME` of your own (default: that of the image file)")
	flags.StringVar(&f.config, "config", "", "read the settings from a JSON `FILE`, as nitro-cli does")
	flags.StringArrayVar(&f.order.Forwards, "forward", nil, "join sockets, `LISTEN=DIAL`; may be repeated")
	flags.Func("machine", "`FORM` of the machine: auto (default, by the image), acpi or cmdline", func(text string) (err error) {
		e.Form, err = emulator.ParseForm(text)
		return err
	})
	flags.DurationVar(&e.HangTimeout, "hang-timeout", 0, "end an enclave whose kernel has not answered for this `TIME`; negative: never (default 1m, more without KVM)")
	f.host.add(cmd)
	for _, other := range []string{"eif-path", "memory", "cpu-count", "cpu-ids", "enclave-cid", "debug-mode", "enclave-name"} {
		cmd.MarkFlagsMutuallyExclusive("config", other)
	}
	cmd.MarkFlagsMutuallyExclusive("cpu-count", "cpu-ids")
	return cmd
}

// args allows what nitro-cli takes: --cpu-ids 1 3.
func (f *runFlags) args(cmd *cobra.Command, args []string) error {
	if !cmd.Flags().Changed("cpu-ids") {
		return noArgs(cmd, args)
	}
	for _, a := range args {
		if _, err := strconv.Atoi(a); err != nil {
			return fmt.Errorf("argument is %q; behind --cpu-ids numbers are allowed", a)
		}
	}
	return nil
}

// parseMemory reads the memory of an enclave.
func parseMemory(text string) (mib int, err error) {
	return parseMiB(text, emulator.MinMemoryMiB, emulator.MaxMemoryMiB)
}

// parseMiB reads a size as nitro-cli does (common/commands_parser.rs). One below
// low is left to a later check, which knows more.
func parseMiB(text string, low, high int) (mib int, err error) {
	number, unit := text, 1
	if i := strings.IndexAny(text, "MmGgTt"); i >= 0 && i == len(text)-1 {
		number = text[:i]
		unit = map[string]int{"M": 1, "G": 1 << 10, "T": 1 << 20}[strings.ToUpper(text[i:])]
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > high/unit {
		return 0, fmt.Errorf("allowed are %d to %d MiB, such as 512 or 2G", low, high)
	}
	return n * unit, nil
}

// check completes the order and says what is missing.
func (f *runFlags) check(args []string) error {
	e := f.order.Enclave
	for _, a := range args {
		id, err := strconv.Atoi(a)
		if err != nil {
			return usageError{err} // args has seen to it
		}
		f.cpuIDs = append(f.cpuIDs, id)
	}
	// Which CPUs they are makes no difference without a parent to take them from.
	if f.cpuIDs != nil {
		e.CPUs, e.CPUIDs = len(f.cpuIDs), f.cpuIDs
	}
	for _, required := range []struct {
		name, field string
		missing     bool
	}{
		{"--eif-path", "eif_path", e.EIFPath == ""},
		{"--memory", "memory_mib", e.MemoryMiB == 0},
		{"--cpu-count", "cpu_count", e.CPUs == 0},
	} {
		switch {
		case required.missing && f.config != "":
			return usagef("--config %s: %s is missing", f.config, required.field)
		case required.missing:
			return usagef("%s is missing", required.name)
		}
	}
	if err := e.Check(); err != nil {
		return usageError{err}
	}
	for _, text := range f.order.Forwards {
		if _, err := forward.Parse(text); err != nil {
			return usageError{err}
		}
	}
	e.Debug = e.Debug || f.attach
	f.host.into(&f.order)
	return nil
}

func (f *runFlags) run(cmd *cobra.Command, args []string) error {
	if f.config != "" {
		if err := f.readConfig(f.config, cmd.ErrOrStderr()); err != nil {
			return err
		}
	}
	if err := f.check(args); err != nil {
		return err
	}
	// The supervisor works in the folder of the caller; absolute paths are for
	// those who read about it elsewhere.
	p, err := findPlaces()
	if err != nil {
		return err
	}
	f.order.ArtifactsDir = p.artifacts
	e := f.order.Enclave
	if e.EIFPath, err = filepath.Abs(e.EIFPath); err != nil {
		return err
	}

	out := newPrinter(cmd.ErrOrStderr())
	d, err := supervisor.Spawn(cmd.Context(), f.order, func(text string) { out.line("%s", text) })
	if err != nil {
		return err
	}
	for _, fw := range d.Forwards {
		out.line("forwarding %s", fw)
	}
	if d.KMSEnv != "" {
		out.line(". %s points clients here at its key service", quote(d.KMSEnv))
	}
	i := d.Enclave
	err = printJSON(cmd.OutOrStdout(), runInfo{
		EnclaveName: i.EnclaveName, EnclaveID: i.EnclaveID, ProcessID: i.ProcessID, EnclaveCID: i.EnclaveCID,
		NumberOfCPUs: i.NumberOfCPUs, CPUIDs: i.CPUIDs, MemoryMiB: i.MemoryMiB,
	})
	if err != nil || !f.attach {
		return err
	}
	return followConsole(cmd.Context(), cmd, (&target{id: i.EnclaveID}).find)
}

// readConfig reads nitro-cli's --config file (common/commands_parser.rs). Like
// nitro-cli it passes over fields that it does not know, but says so.
func (f *runFlags) readConfig(path string, warnings io.Writer) error {
	file, err := os.Open(path)
	if err != nil {
		return usagef("--config: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxConfig+1))
	if err != nil {
		return usagef("--config: %w", err)
	}
	if len(text) > maxConfig {
		return usagef("--config %s has more than %d bytes", path, maxConfig)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return usagef("--config %s: %w", path, err)
	}
	e := f.order.Enclave
	var cpuCount *int
	var attach bool
	fields := map[string]struct {
		into    any
		allowed string
	}{
		"eif_path":       {&e.EIFPath, "a string"},
		"enclave_name":   {&e.Name, "a string"},
		"enclave_cid":    {&e.CID, "a number from 0 to 4294967295"},
		"memory_mib":     {&e.MemoryMiB, "a number of MiB"},
		"cpu_count":      {&cpuCount, "a number"},
		"cpu_ids":        {&f.cpuIDs, "a list of numbers"},
		"debug_mode":     {&e.Debug, "true or false"},
		"attach_console": {&attach, "true or false"},
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		field, ok := fields[name]
		if !ok {
			fmt.Fprintf(warnings, "warning: --config %s: field %q means nothing to nitro-cli or nitrolab\n", path, name)
			continue
		}
		if err := json.Unmarshal(object[name], field.into); err != nil {
			return usagef("--config %s: %s is %s; allowed is %s", path, name, object[name], field.allowed)
		}
	}
	f.attach = f.attach || attach
	switch {
	case cpuCount != nil && f.cpuIDs != nil:
		return usagef("--config %s: cpu_count and cpu_ids are both set; one is allowed", path)
	case cpuCount != nil:
		e.CPUs = *cpuCount
	}
	return nil
}

// maxConfig bounds a --config file.
const maxConfig = 1 << 20
