package supervisor

import (
	"bytes"
	"encoding/json"

	"github.com/nitrolab/nitrolab/emulator"
)

// A Description is what a supervisor says of its guest. Exactly one of Enclave and
// Instance is set.
type Description struct {
	Enclave  *emulator.EnclaveInfo `json:",omitempty"` // without Metadata, which is below
	Instance *InstanceDescription  `json:",omitempty"`

	// Metadata is that of the enclave's image as nitro-cli prints it, nil if there
	// is none. It is text because the user's own keys stand beside the fixed ones in
	// it.
	Metadata json.RawMessage `json:",omitempty"`
	// EIFPath is the enclave's image as it was named at the start.
	EIFPath string `json:",omitempty"`
	// Forwards are the enclave's, with the addresses really listened on.
	Forwards []string `json:",omitempty"`

	// RootPEM is the certificate that documents chain up to.
	RootPEM string
	// KMSEnv is a file of shell commands that point clients at the key service of the
	// Host; empty if it is not offered to them.
	KMSEnv string `json:",omitempty"`
}

// An InstanceDescription is an instance with the enclaves that were started in it.
type InstanceDescription struct {
	Info     emulator.InstanceInfo
	Enclaves []emulator.EnclaveInfo // by CID, without Metadata
}

// ID is the id of the guest.
func (d *Description) ID() string {
	if d.Instance != nil {
		return d.Instance.Info.InstanceID
	}
	return d.Enclave.EnclaveID
}

// Name is the name of the guest; that of an instance without one is its id.
func (d *Description) Name() string {
	if d.Instance != nil {
		return d.Instance.Info.Name
	}
	return d.Enclave.EnclaveName
}

// String is the guest in a sentence, such as "instance i-0123456789abcdef0".
func (d *Description) String() string {
	if d.Instance != nil {
		return "instance " + d.ID()
	}
	return "enclave " + d.ID()
}

// valid refuses what is not a description.
func (d *Description) valid() bool { return (d.Enclave == nil) != (d.Instance == nil) }

// describeEnclave makes the part of a Description that is the enclave's.
func describeEnclave(info emulator.EnclaveInfo) Description {
	d := Description{Enclave: &info}
	if info.Metadata != nil {
		var b bytes.Buffer
		if newEncoder(&b).Encode(info.Metadata) == nil { // what cannot be printed is left out
			d.Metadata = b.Bytes()
		}
	}
	info.Metadata = nil
	return d
}

// describeInstance makes the part of a Description that is the instance's.
func describeInstance(i Instance) Description {
	d := InstanceDescription{Info: i.Info(), Enclaves: []emulator.EnclaveInfo{}}
	for _, e := range i.Enclaves() {
		e.Metadata = nil // an enclave's maker may have put in anything, of any size
		d.Enclaves = append(d.Enclaves, e)
	}
	return Description{Instance: &d}
}
