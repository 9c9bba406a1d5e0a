package wire

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// The types below stand for fields of replies where the CBOR library would take
// more than the format allows: it reads arrays of integers into byte slices, and
// strings of any length into arrays.

// byteString is a byte string; nil if the field is absent.
type byteString []byte

// UnmarshalCBOR implements [cbor.Unmarshaler].
func (s *byteString) UnmarshalCBOR(b []byte) error {
	if b[0]&majorMask != majorBytes {
		return fmt.Errorf("byte string: %w", errType)
	}
	*s = []byte{}
	return responseDec.Unmarshal(b, (*[]byte)(s))
}

// pcr is the value of one PCR.
type pcr PCR

// UnmarshalCBOR implements [cbor.Unmarshaler].
func (p *pcr) UnmarshalCBOR(b []byte) error {
	var s byteString
	if err := s.UnmarshalCBOR(b); err != nil {
		return err
	}
	if len(s) != PCRSize {
		return fmt.Errorf("PCR of %d bytes, want %d", len(s), PCRSize)
	}
	*p = pcr(s)
	return nil
}

// digest is the name of a digest.
type digest string

// UnmarshalCBOR implements [cbor.Unmarshaler].
func (d *digest) UnmarshalCBOR(b []byte) error {
	if err := responseDec.Unmarshal(b, (*string)(d)); err != nil {
		return err
	}
	switch *d {
	case "SHA256", "SHA384", "SHA512":
		return nil
	}
	return fmt.Errorf("unknown digest %q", *d)
}

// indexSet is a set of PCR indexes, which serde writes in ascending order.
type indexSet []uint16

// UnmarshalCBOR implements [cbor.Unmarshaler].
func (s *indexSet) UnmarshalCBOR(b []byte) error {
	var raw []cbor.RawMessage
	if err := responseDec.Unmarshal(b, &raw); err != nil {
		return err
	}
	*s = make(indexSet, len(raw))
	for i, item := range raw {
		if item[0]&majorMask != majorUint {
			return fmt.Errorf("PCR index: %w", errType)
		}
		if err := responseDec.Unmarshal(item, &(*s)[i]); err != nil {
			return err
		}
		if i > 0 && (*s)[i] <= (*s)[i-1] {
			return fmt.Errorf("PCR index %d after %d", (*s)[i], (*s)[i-1])
		}
	}
	return nil
}
