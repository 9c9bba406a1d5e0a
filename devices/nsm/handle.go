package nsm

import (
	"errors"
	"fmt"
	"io"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// Handle answers one request, as CBOR to CBOR. The reply is the caller's; it is
// never empty and never longer than [wire.MaxResponse]. Handle is safe for
// concurrent use; requests take turns.
func (d *Device) Handle(req []byte) []byte { return d.answer(nil, req, wire.MaxResponse) }

// answer appends the reply to req to dst, for a buffer of room bytes.
//
// A reply that has no room is replaced by BufferTooSmall, which means that the
// operation was carried out nevertheless (nsm-api, ErrorCode). If that has no
// room either, nothing is appended: half a CBOR item would help nobody.
func (d *Device) answer(dst, req []byte, room int) []byte {
	room = min(room, wire.MaxResponse)
	r, err := d.execute(req)
	if err != nil {
		r = d.refusal(err)
	}
	reply, err := wire.AppendResponse(dst, r)
	if err != nil {
		reply = d.appendCode(dst, d.refusal(err))
	}
	if len(reply)-len(dst) > room {
		d.log.Debug("nsm reply does not fit", "reply", r.Name(), "bytes", len(reply)-len(dst), "room", room)
		reply = d.appendCode(dst, wire.BufferTooSmall)
	}
	if len(reply)-len(dst) > room {
		return dst
	}
	return reply
}

// refusal is the code that the enclave gets for err.
func (d *Device) refusal(err error) wire.ErrorCode {
	code := wire.InternalError
	errors.As(err, &code)
	d.log.Debug("nsm request refused", "code", code.String(), "reason", err)
	return code
}

func (d *Device) appendCode(dst []byte, code wire.ErrorCode) []byte {
	reply, err := wire.AppendResponse(dst, code)
	if err != nil { // a code is a map of two constant strings
		panic(fmt.Sprintf("nsm: encode %v: %v", code, err))
	}
	return reply
}

// execute carries out one request. An error that wraps no ErrorCode is the
// module's own failure.
func (d *Device) execute(req []byte) (wire.Response, error) {
	r, err := wire.DecodeRequest(req)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r := r.(type) {
	case wire.DescribePCR:
		value, locked, err := d.bank.Describe(r.Index)
		return wire.DescribePCRResponse{Lock: locked, Data: value}, err
	case wire.ExtendPCR:
		value, err := d.bank.Extend(r.Index, r.Data)
		return wire.ExtendPCRResponse{Data: value}, err
	case wire.LockPCR:
		return wire.LockPCRResponse{}, d.bank.Lock(r.Index)
	case wire.LockPCRs:
		return wire.LockPCRsResponse{}, d.bank.LockRange(r.Range)
	case wire.DescribeNSM:
		return d.describe(), nil
	case wire.Attestation:
		return d.attest(r)
	case wire.GetRandom:
		return d.getRandom()
	}
	return nil, fmt.Errorf("request %T has no implementation", r)
}

// describe says what every module seen so far says of itself: version 1.0.0.
func (d *Device) describe() wire.DescribeNSMResponse {
	return wire.DescribeNSMResponse{
		VersionMajor: 1,
		ModuleID:     d.moduleID,
		MaxPCRs:      wire.NumPCRs,
		LockedPCRs:   d.bank.LockedIndexes(),
		Digest:       wire.DigestSHA384,
	}
}

func (d *Device) attest(r wire.Attestation) (wire.Response, error) {
	doc, err := d.attester.Document(Claims{
		ModuleID:  d.moduleID,
		PCRs:      d.bank.Locked(),
		UserData:  r.UserData,
		Nonce:     r.Nonce,
		PublicKey: r.PublicKey,
	})
	if err != nil {
		return nil, fmt.Errorf("attestation document: %w", err)
	}
	return wire.AttestationResponse{Document: doc}, nil
}

func (d *Device) getRandom() (wire.Response, error) {
	random := make([]byte, wire.RandomSize)
	if _, err := io.ReadFull(d.entropy, random); err != nil {
		return nil, fmt.Errorf("entropy: %w", err)
	}
	return wire.GetRandomResponse{Random: random}, nil
}
