// Package weaken is the one way to switch a protection off. A test that an
// attack fails counts only beside a run in which that one protection is off and
// the same attack succeeds; this package makes the second run possible and
// nothing else: outside a test binary it panics, and no flag or environment
// variable reaches it. What a test needs inside a guest has a program of its own, see
// [InGuest].
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

	// RecipientDocument is the key service's verification of the attestation
	// document of a Recipient: chain, signature, validity (emulator/kms).
	RecipientDocument Protection = "kms: the recipient's document is verified"

	// RecipientValidity is that part of it which looks at the time: validity of
	// the certificates and the freshness window (emulator/kms).
	RecipientValidity Protection = "kms: the recipient's document is of now"

	// RecipientConditions is that the key service evaluates the conditions on
	// kms:RecipientAttestation keys (emulator/kms).
	RecipientConditions Protection = "kms: recipient conditions of key policies"

	// ServiceTLS is that an enclave's client checks the certificate of the key
	// service (guest/kmsclient).
	ServiceTLS Protection = "kms client: certificate of the key service"

	// SealedAnswer is that an enclave's client takes a key from
	// CiphertextForRecipient and from nothing else (guest/kmsclient).
	SealedAnswer Protection = "kms client: no plaintext in an answer"

	// KeyBinding is that an enclave's client names the key and the encryption
	// context it expects (guest/inference).
	KeyBinding Protection = "kms client: key id and encryption context are pinned"

	// ChannelNonce is that a client compares the nonce of the enclave's document
	// with its own (guest/channel).
	ChannelNonce Protection = "channel: nonce is compared"

	// ChannelKey is that a client compares the key of the TLS session with that
	// in the enclave's document (guest/channel).
	ChannelKey Protection = "channel: document names the key of the session"
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

// InGuest switches off p in a program that runs inside a guest and exists for tests
// alone, such as guest/cmd/weakinference. No product may call it: a test of this
// package looks for others who do. Such a program is another image with other
// measurements, which no key policy for the product's names.
func InGuest(p Protection) Set { return Set{off: p} }

// Off reports whether p is switched off.
func (s Set) Off(p Protection) bool { return p != None && s.off == p }

// String is a sentence for reports; empty when everything protects.
func (s Set) String() string {
	if s.off == None {
		return ""
	}
	return fmt.Sprintf("PROTECTION OFF: %s", string(s.off))
}
