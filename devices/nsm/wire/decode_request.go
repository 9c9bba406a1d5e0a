package wire

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// DecodeRequest reads one request as the module does. The error wraps
// [InputTooLarge] for more than MaxRequest bytes and [InvalidOperation] for
// everything else that is not a request.
//
// Accepted as on hardware (enclave-abi.md, section 2.3): integers of any width,
// text strings where byte strings are meant, fields in any order, unknown
// fields, null or absent fields of Attestation.
//
// Decided here, because hardware was not asked: indefinite lengths are
// accepted; trailing bytes, a key that appears twice, any tag, "undefined" in
// place of a value, invalid UTF-8 in a name or value that is read, fields for a
// variant that has none and nesting deeper than 32 are InvalidOperation.
//
// An index or range above 31 or 32 is not an error here: it is a request about a
// register that does not exist.
func DecodeRequest(b []byte) (Request, error) {
	if len(b) > MaxRequest {
		return nil, fmt.Errorf("decode request of %d bytes: %w", len(b), InputTooLarge)
	}
	r, err := decodeRequest(b)
	if err != nil {
		return nil, fmt.Errorf("decode request: %v: %w", err, InvalidOperation)
	}
	return r, nil
}

func decodeRequest(b []byte) (Request, error) {
	name, raw, err := variant(requestDec, b)
	if err != nil {
		return nil, err
	}
	if raw == nil {
		switch name {
		case "DescribeNSM":
			return DescribeNSM{}, nil
		case "GetRandom":
			return GetRandom{}, nil
		}
		return nil, fmt.Errorf("unknown request %q", name)
	}

	if raw[0]&majorMask != majorMap { // null would decode as no fields
		return nil, fmt.Errorf("fields of %q: %w", name, errType)
	}
	var f fields
	if err := requestDec.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("fields of %q: %w", name, err)
	}
	switch name {
	case "DescribePCR":
		index, err := f.uint16("index")
		return DescribePCR{Index: index}, err
	case "ExtendPCR":
		index, err := f.uint16("index")
		if err != nil {
			return nil, err
		}
		data, err := f.bytes("data")
		if err == nil && data == nil {
			err = fmt.Errorf("data: %w", errMissing)
		}
		return ExtendPCR{Index: index, Data: data}, err
	case "LockPCR":
		index, err := f.uint16("index")
		return LockPCR{Index: index}, err
	case "LockPCRs":
		n, err := f.uint16("range")
		return LockPCRs{Range: n}, err
	case "Attestation":
		return f.attestation()
	}
	return nil, fmt.Errorf("unknown request %q", name)
}

// fields are the entries of a variant's map, each value still in CBOR, so that
// values nobody asks for are never interpreted.
type fields map[fieldName]cbor.RawMessage

// A fieldName is the key of a field. A key that is no text string names no
// field; it is kept as its own CBOR, which begins with a byte that no name has,
// so that it is skipped like any unknown name.
type fieldName string

// UnmarshalCBOR implements [cbor.Unmarshaler].
func (n *fieldName) UnmarshalCBOR(b []byte) error {
	if b[0]&majorMask != majorText {
		*n = fieldName(b)
		return nil
	}
	return requestDec.Unmarshal(b, (*string)(n))
}

// uint16 is the field of that name. Rust's u16 takes an unsigned integer of any
// width up to 65535 and nothing else.
func (f fields) uint16(name fieldName) (uint16, error) {
	raw, ok := f[name]
	if !ok {
		return 0, fmt.Errorf("%s: %w", name, errMissing)
	}
	if raw[0]&majorMask != majorUint {
		return 0, fmt.Errorf("%s: %w", name, errType)
	}
	var v uint16
	if err := requestDec.Unmarshal(raw, &v); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}

// bytes is the field of that name: the bytes of a byte or text string, or nil
// if the field is null or absent.
func (f fields) bytes(name fieldName) ([]byte, error) {
	raw, ok := f[name]
	if !ok || len(raw) == 1 && raw[0] == null {
		return nil, nil
	}
	var err error
	switch raw[0] & majorMask {
	case majorBytes:
		var v []byte
		if err = requestDec.Unmarshal(raw, &v); err == nil {
			return v, nil
		}
	case majorText:
		var s string
		if err = requestDec.Unmarshal(raw, &s); err == nil {
			return append([]byte{}, s...), nil
		}
	default:
		err = errType
	}
	return nil, fmt.Errorf("%s: %w", name, err)
}

func (f fields) attestation() (r Attestation, err error) {
	for _, v := range []struct {
		name fieldName
		dst  *[]byte
	}{
		{"user_data", &r.UserData},
		{"nonce", &r.Nonce},
		{"public_key", &r.PublicKey},
	} {
		if *v.dst, err = f.bytes(v.name); err != nil {
			return Attestation{}, err
		}
	}
	return r, nil
}
