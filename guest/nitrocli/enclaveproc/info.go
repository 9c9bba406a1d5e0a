package enclaveproc

import (
	"bytes"
	"encoding/json"

	"github.com/nitrolab/nitrolab/images/eif"
)

// RunInfo is what nitro-cli prints for run-enclave.
type RunInfo struct {
	EnclaveName  string
	EnclaveID    string
	ProcessID    int
	EnclaveCID   uint64
	NumberOfCPUs int
	CPUIDs       []uint32
	MemoryMiB    uint64
}

// DescribeInfo is one element of what nitro-cli prints for describe-enclaves.
type DescribeInfo struct {
	EnclaveName  string
	EnclaveID    string
	ProcessID    int
	EnclaveCID   uint64
	NumberOfCPUs int
	CPUIDs       []uint32
	MemoryMiB    uint64
	State        State
	Flags        string
	// Measurements is nil if the image could not be measured.
	Measurements *eif.Measurements `json:",omitempty"`
	// The others are there if metadata is asked for, and in the image.
	ImageName    string            `json:",omitempty"`
	ImageVersion string            `json:",omitempty"`
	Metadata     *eif.MetadataInfo `json:",omitempty"`
}

// TerminateInfo is what nitro-cli prints for terminate-enclave.
type TerminateInfo struct {
	EnclaveName string
	EnclaveID   string
	Terminated  bool
}

// A State is what describe-enclaves says an enclave does.
type State string

// The states.
const (
	Running     State = "RUNNING"
	Terminating State = "TERMINATING"
)

// flagsText is the Flags of [DescribeInfo].
func flagsText(debug bool) string {
	if debug {
		return "DEBUG_MODE"
	}
	return "NONE"
}

// encode is JSON in nitro-cli's form, indented by two spaces, with a newline.
func encode(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.String(), err
}
