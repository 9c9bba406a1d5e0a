package emulator

import "github.com/nitrolab/nitrolab/images/eif"

// An EnclaveInfo describes an enclave, in the shape that nitro-cli prints for
// run-enclave and describe-enclaves (src/common/json_output.rs).
type EnclaveInfo struct {
	EnclaveName  string
	EnclaveID    string
	ProcessID    int
	EnclaveCID   uint32
	NumberOfCPUs int
	CPUIDs       []int
	MemoryMiB    int
	State        State
	// Flags is DEBUG_MODE or NONE.
	Flags        string
	Measurements eif.Measurements
	ImageName    string
	ImageVersion string
	Metadata     *eif.MetadataInfo

	// ModuleID is the enclave's id inside its documents, which has a leading
	// zero more than EnclaveID. Not part of nitro-cli's output.
	ModuleID string
}
