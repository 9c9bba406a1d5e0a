package attestation

import (
	"errors"
	"fmt"
)

// Encoding is the form of the payload's outer map; everything inside it is of
// definite length in both. Genuine documents have either, so a verifier must
// read both.
type Encoding uint8

const (
	// EncodingDefault leaves the choice to the Authority's Config, and there to
	// Encoding2025.
	EncodingDefault Encoding = iota

	// Encoding2021 is a map of nine (a9), seen from 2021 to early 2025.
	Encoding2021

	// Encoding2025 is a map of indefinite length (bf ... ff), seen since
	// mid-2025. It broke strict decoders in production (base/nitro-validator
	// #23, #24, #32).
	Encoding2025
)

func (e Encoding) valid() bool { return e == Encoding2021 || e == Encoding2025 }

// String names the encoding by year and form.
func (e Encoding) String() string {
	switch e {
	case EncodingDefault:
		return "default encoding"
	case Encoding2021:
		return "2021 encoding (definite map)"
	case Encoding2025:
		return "2025 encoding (indefinite map)"
	}
	return fmt.Sprintf("Encoding(%d)", uint8(e))
}

// Claims are what one document says beside who issued it.
//
// The three byte fields are nil for CBOR null; empty but not nil is an empty byte string.
// They have no limit of their own, as on hardware, where only the request of
// 4096 bytes has one.
type Claims struct {
	// PCRs are the locked registers by index, 0 to 31, of 48 bytes each; at
	// least one.
	PCRs map[uint][]byte

	UserData  []byte
	Nonce     []byte
	PublicKey []byte

	// NitroTPM makes it a document of an EC2 instance with a NitroTPM: PCRs are
	// those of the TPM, 0 to 23 (Amazon EC2 User Guide, "NitroTPM Attestation
	// Document contents").
	NitroTPM bool

	// Encoding of this document; zero means the Authority's.
	Encoding Encoding
}

// lastPCR is the highest register of an NSM or of a TPM.
func lastPCR(tpm bool) uint {
	if tpm {
		return maxTPMPCRs - 1
	}
	return maxPCRs - 1
}

// pcrSize is the length of a SHA-384 register.
const pcrSize = 48

func (c Claims) check() error {
	if !c.Encoding.valid() {
		return fmt.Errorf("unknown %v", c.Encoding)
	}
	if len(c.PCRs) == 0 {
		return errors.New("no PCRs")
	}
	for i, v := range c.PCRs {
		if most := lastPCR(c.NitroTPM); i > most {
			return fmt.Errorf("PCR%d: the last is PCR%d", i, most)
		}
		if len(v) != pcrSize {
			return fmt.Errorf("PCR%d: %d bytes, want %d", i, len(v), pcrSize)
		}
	}
	return nil
}
