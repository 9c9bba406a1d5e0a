package nitrocli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/guest/nitrocli/wire"
)

// maxConfig bounds a --config file, in bytes.
const maxConfig = 1 << 20

// readConfig reads the settings of run-enclave from a file.
func readConfig(path string) (wire.RunArgs, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return wire.RunArgs{}, failure.Wrap(failure.FileOperationFailure, err, path, "Open")
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(text) > maxConfig {
		err = fmt.Errorf("config file has more than %d bytes", maxConfig)
	}
	if err != nil {
		return wire.RunArgs{}, failure.Wrap(failure.SerdeError, err)
	}
	return parseConfig(text)
}

// parseConfig reads the JSON of a --config file as serde does: names are matched
// exactly, a field that comes twice or has another type is an error, unknown
// fields are passed over, and the CID is left for the driver to check.
func parseConfig(text []byte) (wire.RunArgs, error) {
	var a wire.RunArgs
	fields, err := decodeOnce(text)
	if err != nil {
		return a, failure.Wrap(failure.SerdeError, err)
	}
	for _, f := range []struct {
		name     string
		into     any
		required bool
		optional bool // null stands for none
	}{
		{"eif_path", &a.EIFPath, true, false},
		{"enclave_cid", &a.EnclaveCID, false, true},
		{"memory_mib", &a.MemoryMiB, true, false},
		{"cpu_ids", &a.CPUIDs, false, true},
		{"debug_mode", &a.DebugMode, false, false},
		{"attach_console", &a.AttachConsole, false, false},
		{"cpu_count", &a.CPUCount, false, true},
		{"enclave_name", &a.EnclaveName, false, true},
	} {
		raw, ok := fields[f.name]
		null := ok && bytes.Equal(raw, []byte("null"))
		switch {
		case !ok && f.required:
			return a, failure.New(failure.SerdeError, "field `%s` is missing", f.name)
		case !ok, null && f.optional:
			continue
		case null:
			return a, failure.New(failure.SerdeError, "field `%s` is null", f.name)
		}
		// A null among the CPUs would be read as 0, which asks for any.
		if f.name == "cpu_ids" && bytes.Contains(raw, []byte("null")) {
			return a, failure.New(failure.SerdeError, "field `cpu_ids` has a null")
		}
		if err := json.Unmarshal(raw, f.into); err != nil {
			return a, failure.New(failure.SerdeError, "field `%s`: %w", f.name, err)
		}
	}
	switch {
	case a.CPUCount == nil && a.CPUIDs == nil:
		return a, failure.New(failure.MissingArgument, "neither `cpu_count` nor `cpu_ids` is in the config file").With("cpu-count")
	case a.CPUCount != nil && a.CPUIDs != nil:
		return a, failure.New(failure.ConflictingArgument, "the config file has `cpu_count` and `cpu_ids`").With("cpu-count", "cpu-ids")
	}
	a.DebugMode = a.DebugMode || a.AttachConsole
	return a, nil
}

// decodeOnce reads a JSON object one level deep, and refuses what
// encoding/json passes over: a name that comes twice, and text behind the object.
func decodeOnce(text []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("not a JSON object"), err)
	}
	fields := make(map[string]json.RawMessage)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string) // names are strings, says the decoder
		if _, ok := fields[name]; ok {
			return nil, fmt.Errorf("field `%s` comes twice", name)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		fields[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something behind the JSON object")
	}
	return fields, nil
}
