// Package weaken is the one way to switch a protection off. A test that an
// attack fails counts only beside a run in which that one protection is off and
// the same attack succeeds; this package makes the second run possible and
// nothing else: outside a test binary it panics, and no flag or environment
// variable reaches it.
package weaken

import (
	"fmt"
	"testing"
)

// A Protection is one check or barrier that can be switched off by itself.
type Protection string

// The protections, named by the package that holds them.
const (
	// None is the zero value: everything protects.
	None Protection = ""

	// ZeroPCR is the verifier's refusal of documents whose PCR0, PCR1 or PCR2
	// is all zero, which is what a debug enclave has
	// (devices/nsm/attestation).
	ZeroPCR Protection = "attestation: zero PCR check"

	// EnclaveIsolation is the switch's refusal to connect an enclave with
	// anything but its parent (devices/vsock).
	EnclaveIsolation Protection = "vsock: enclaves reach their parent only"

	// SourceCID is the switch's refusal of packets that claim another guest's
	// CID (devices/vsock).
	SourceCID Protection = "vsock: source CID check"

	// ScrubOnFree is the zeroing of an enclave's memory before its parent gets
	// it back (devices/enclaves).
	ScrubOnFree Protection = "enclaves: memory is scrubbed when its slot is freed"

	// ScrubDonated is that the pages an instance donates to an enclave are taken
	// from it when the enclave starts (emulator).
	ScrubDonated Protection = "hypervisor: donated memory is taken from the instance"

	// ProductionConsole is that an enclave outside debug mode has no console for
	// its parent (emulator).
	ProductionConsole Protection = "hypervisor: no console in production mode"
)

// A Set says which protection is off. The zero value weakens nothing.
type Set struct{ off Protection }

// Only switches off p and nothing else.
//
// It panics outside a test binary: a product must not be able to call it.
func Only(p Protection) Set {
	if !testing.Testing() {
		panic(fmt.Sprintf("weaken: %q can be switched off in tests only", p))
	}
	return Set{off: p}
}

// Off reports whether p is switched off.
func (s Set) Off(p Protection) bool { return p != None && s.off == p }

// String is a sentence for reports; empty when everything protects.
func (s Set) String() string {
	if s.off == None {
		return ""
	}
	return fmt.Sprintf("PROTECTION OFF: %s", string(s.off))
}
