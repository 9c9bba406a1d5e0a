package attestation

import (
	"crypto/sha512"
	"time"
)

// Limits of [Parse]. Those of the payload and of certificates are AWS's
// (nsm-api docs/attestation_process.md sections 3.1 and 3.2.2.2).
const (
	// MaxDocument bounds a whole document, in bytes. Hardware cannot make one
	// of more than 12 KiB: that is the size of the NSM's response buffer.
	MaxDocument = 32 << 10

	// MaxPayload bounds the signed payload, in bytes.
	MaxPayload = 16 << 10

	// MaxCertificate bounds each certificate, in bytes of DER.
	MaxCertificate = 1 << 10

	maxPCRs       = 32
	maxTPMPCRs    = 24
	maxCABundle   = 16 // AWS sets no limit; no more fit into MaxPayload
	signatureSize = 96 // r and s, 48 bytes each
)

// maxTimestamp is the last millisecond of the year 9999, beyond which Go's
// textual forms of a time end.
const maxTimestamp = 253402300799999

// A Document is what an attestation document says. It says so itself: nothing
// in it is to be believed before [Verify] has accepted the document.
//
// Of the optional fields, PublicKey, UserData and Nonce, nil stands for both
// CBOR null and an absent field; empty but not nil is an empty byte string.
type Document struct {
	ModuleID    string
	Digest      string          // always "SHA384"
	Timestamp   uint64          // milliseconds since 1970, UTC
	PCRs        map[uint][]byte // the locked registers, 32, 48 or 64 bytes each
	Certificate []byte          // leaf, DER
	CABundle    [][]byte        // issuers, DER, root first
	PublicKey   []byte
	UserData    []byte
	Nonce       []byte

	// NitroTPM says that PCRs are those of a TPM, in the document's field
	// nitrotpm_pcrs, and that the document is of an EC2 instance and not of an
	// enclave. Register 0 of the two has nothing to do with each other.
	NitroTPM bool

	// Encoding of the payload's outer map.
	Encoding Encoding

	// Tagged says that the COSE_Sign1 had CBOR tag 18.
	Tagged bool

	payload   []byte
	signature []byte
}

// Time is Timestamp as a time.
func (d *Document) Time() time.Time {
	return time.UnixMilli(int64(d.Timestamp)).UTC() // Parse checked maxTimestamp
}

// Fingerprint is the SHA-384 of the signed payload: an identifier for records
// and for finding duplicates. The bytes of a document are none, because anyone
// can make a second one out of it that verifies too, by adding the tag or by
// replacing s of the ECDSA signature by the order of the group minus s.
func (d *Document) Fingerprint() [sha512.Size384]byte { return sha512.Sum384(d.payload) }

// Signature is r and s, 48 bytes each, big-endian. The caller does not modify it.
func (d *Document) Signature() []byte { return d.signature }

// Payload is the CBOR map that is signed. The caller does not modify it.
func (d *Document) Payload() []byte { return d.payload }
