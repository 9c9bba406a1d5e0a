package supervisor

import (
	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/emulator"
)

// Command is the hidden command of nitrolab that is a supervisor: it reads an
// Order from standard input and reports on standard output.
const Command = "supervise"

// An Order is everything a supervisor needs to know.
type Order struct {
	Enclave  emulator.EnclaveConfig
	Forwards []string
	Names    attestation.Names
	Role     string
	Accel    string // "auto", "kvm" or "tcg"
	QEMU     string // explicit path, or empty
	// ArtifactsDir gets console and command line of an enclave that fails.
	ArtifactsDir string
}

// Between [Spawn] and [Supervise] JSON values go both ways: first the Order, then
// reports, and when one says that the enclave runs, the release.

// A release lets a supervisor live without the process that started it.
type release struct{ Release bool }

// A report is what a supervisor says until it is released. One field is set.
type report struct {
	Progress string       `json:",omitempty"`
	Ready    *Description `json:",omitempty"`
	Error    string       `json:",omitempty"` // ends the attempt
}
