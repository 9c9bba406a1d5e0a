package supervisor

import (
	"errors"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/emulator"
)

// Command is the hidden command of nitrolab that is a supervisor: it reads an
// Order from standard input and reports on standard output.
const Command = "supervise"

// An Order is everything a supervisor needs to know. Exactly one of Enclave and
// Instance is set.
type Order struct {
	Enclave *emulator.EnclaveConfig `json:",omitempty"`
	// Forwards are the enclave's.
	Forwards []string `json:",omitempty"`

	// Instance is without an Image: the Host has one.
	Instance *emulator.InstanceConfig `json:",omitempty"`

	Names attestation.Names
	Role  string
	Accel string // "auto", "kvm" or "tcg"
	QEMU  string // explicit path, or empty
	// KMSStore is the file that keeps the keys of the key service, empty for memory,
	// and KMSListen a loopback address at which this machine reaches it, or empty.
	KMSStore  string `json:",omitempty"`
	KMSListen string `json:",omitempty"`
	// ArtifactsDir gets console and command line of a guest that fails.
	ArtifactsDir string
}

// check refuses what can be refused before there is a Host.
func (o *Order) check() error {
	switch {
	case (o.Enclave == nil) == (o.Instance == nil):
		return errors.New("order: allowed is either an enclave or an instance")
	case o.Instance != nil && len(o.Forwards) > 0:
		return errors.New("order: forwards are for enclaves")
	}
	_, err := parseForwards(o.Forwards)
	return err
}

// kind is the word for the guest.
func (o *Order) kind() string {
	if o.Instance != nil {
		return "instance"
	}
	return "enclave"
}

// Between [Start] and [Supervise] JSON values go both ways: first the Order, then
// reports, and when one says that the guest runs, perhaps the release.

// A release lets a supervisor live without the process that started it.
type release struct{ Release bool }

// A report is what a supervisor says until it is released. One of Progress, Ready
// and Error is set.
type report struct {
	Progress string       `json:",omitempty"`
	Ready    *Description `json:",omitempty"`
	Dir      string       `json:",omitempty"` // with Ready: the state directory
	Error    string       `json:",omitempty"` // the last report
}
