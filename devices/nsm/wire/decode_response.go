package wire

import (
	"errors"
	"fmt"
)

// ErrMalformed is the error of a reply that breaks the format: a fault of the
// module or of the path to it, never a verdict on the request.
var ErrMalformed = errors.New("malformed nsm reply")

// DecodeResponse reads one reply. If the reply is an error, that [ErrorCode] is
// the error; any other error wraps [ErrMalformed].
//
// Every field must be there, once and of its type, and no other; a PCR has 48
// bytes. Lengths may be indefinite, because the module of 2025 uses them inside
// the document.
func DecodeResponse(b []byte) (Response, error) {
	if len(b) > MaxResponse {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrMalformed, len(b), MaxResponse)
	}
	r, err := decodeResponse(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if code, ok := r.(ErrorCode); ok {
		return nil, code
	}
	return r, nil
}

func decodeResponse(b []byte) (Response, error) {
	name, raw, err := variant(responseDec, b)
	if err != nil {
		return nil, err
	}
	if raw == nil {
		switch name {
		case "LockPCR":
			return LockPCRResponse{}, nil
		case "LockPCRs":
			return LockPCRsResponse{}, nil
		}
		return nil, fmt.Errorf("unknown reply %q", name)
	}
	switch name {
	case "DescribePCR":
		var f struct {
			Lock *bool `cbor:"lock"`
			Data *pcr  `cbor:"data"`
		}
		return build(name, raw, &f, func() (Response, bool) {
			if f.Lock == nil || f.Data == nil {
				return nil, false
			}
			return DescribePCRResponse{Lock: *f.Lock, Data: PCR(*f.Data)}, true
		})
	case "ExtendPCR":
		var f struct {
			Data *pcr `cbor:"data"`
		}
		return build(name, raw, &f, func() (Response, bool) {
			if f.Data == nil {
				return nil, false
			}
			return ExtendPCRResponse{Data: PCR(*f.Data)}, true
		})
	case "DescribeNSM":
		var f describeNSM
		return build(name, raw, &f, f.response)
	case "Attestation":
		var f struct {
			Document byteString `cbor:"document"`
		}
		return build(name, raw, &f, func() (Response, bool) {
			return AttestationResponse{Document: f.Document}, f.Document != nil
		})
	case "GetRandom":
		var f struct {
			Random byteString `cbor:"random"`
		}
		return build(name, raw, &f, func() (Response, bool) {
			return GetRandomResponse{Random: f.Random}, f.Random != nil
		})
	case "Error":
		var s string
		if raw[0]&majorMask != majorText {
			return nil, fmt.Errorf("error code: %w", errType)
		}
		if err := responseDec.Unmarshal(raw, &s); err != nil {
			return nil, fmt.Errorf("error code: %w", err)
		}
		code, ok := ParseErrorCode(s)
		if !ok {
			return nil, fmt.Errorf("unknown error code %q", s)
		}
		return code, nil
	}
	return nil, fmt.Errorf("unknown reply %q", name)
}

// build decodes the fields into dst and makes the reply of them; done reports
// whether all fields were there.
func build(name string, raw []byte, dst any, done func() (Response, bool)) (Response, error) {
	if err := responseDec.Unmarshal(raw, dst); err != nil {
		return nil, fmt.Errorf("fields of %s: %w", name, err)
	}
	r, ok := done()
	if !ok {
		return nil, fmt.Errorf("fields of %s: %w", name, errMissing)
	}
	return r, nil
}

// describeNSM is a DescribeNSMResponse in which absent fields show.
type describeNSM struct {
	VersionMajor *uint16   `cbor:"version_major"`
	VersionMinor *uint16   `cbor:"version_minor"`
	VersionPatch *uint16   `cbor:"version_patch"`
	ModuleID     *string   `cbor:"module_id"`
	MaxPCRs      *uint16   `cbor:"max_pcrs"`
	LockedPCRs   *indexSet `cbor:"locked_pcrs"`
	Digest       *digest   `cbor:"digest"`
}

func (f *describeNSM) response() (Response, bool) {
	if f.VersionMajor == nil || f.VersionMinor == nil || f.VersionPatch == nil || f.ModuleID == nil ||
		f.MaxPCRs == nil || f.LockedPCRs == nil || f.Digest == nil {
		return nil, false
	}
	return DescribeNSMResponse{
		VersionMajor: *f.VersionMajor,
		VersionMinor: *f.VersionMinor,
		VersionPatch: *f.VersionPatch,
		ModuleID:     *f.ModuleID,
		MaxPCRs:      *f.MaxPCRs,
		LockedPCRs:   []uint16(*f.LockedPCRs),
		Digest:       string(*f.Digest),
	}, true
}
