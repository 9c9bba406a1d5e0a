package nsmtest

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// Document wants an attestation document with these claims. It checks what the
// device puts in, not the signature and the chain: that is a verifier's job.
type Document struct {
	// Locked is the number of PCRs in the document: the first ones.
	Locked uint16
	// PCRs are the values of some of them.
	PCRs map[uint16]wire.PCR

	UserData, Nonce, PublicKey []byte // nil is null, empty is h''
}

// sign1 is an untagged COSE_Sign1 (RFC 9052, section 4.2).
type sign1 struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[any]any
	Payload     []byte
	Signature   []byte
}

// payload is the document itself, in the order of the wire
// (enclave-abi.md, section 3.2).
type payload struct {
	ModuleID    string            `cbor:"module_id"`
	Digest      string            `cbor:"digest"`
	Timestamp   uint64            `cbor:"timestamp"`
	PCRs        map[uint16][]byte `cbor:"pcrs"`
	Certificate []byte            `cbor:"certificate"`
	CABundle    [][]byte          `cbor:"cabundle"`
	PublicKey   []byte            `cbor:"public_key"`
	UserData    []byte            `cbor:"user_data"`
	Nonce       []byte            `cbor:"nonce"`
}

// Check implements [Want].
func (w Document) Check(reply []byte) error {
	r, err := decode[wire.AttestationResponse](reply)
	if err != nil {
		return err
	}
	var s sign1
	if err := cbor.Unmarshal(r.Document, &s); err != nil {
		return fmt.Errorf("COSE_Sign1: %w", err)
	}
	var p payload
	if err := cbor.Unmarshal(s.Payload, &p); err != nil {
		return fmt.Errorf("payload: %w", err)
	}
	if p.ModuleID == "" || p.Digest != wire.DigestSHA384 || len(s.Unprotected) != 0 {
		return errors.New("document lacks its module id or digest, or has unprotected headers")
	}
	if len(p.PCRs) != int(w.Locked) {
		return fmt.Errorf("document has %d PCRs, want %d", len(p.PCRs), w.Locked)
	}
	for _, i := range first(w.Locked) {
		value, ok := p.PCRs[i]
		if !ok || len(value) != wire.PCRSize {
			return fmt.Errorf("document has %d bytes of PCR%d", len(value), i)
		}
		if want, ok := w.PCRs[i]; ok && want != wire.PCR(value) {
			return fmt.Errorf("document has PCR%d = %x, want %x", i, value, want)
		}
	}
	got := Document{Locked: w.Locked, PCRs: w.PCRs, UserData: p.UserData, Nonce: p.Nonce, PublicKey: p.PublicKey}
	if d := cmp.Diff(w, got); d != "" {
		return fmt.Errorf("claims differ (-want +got):\n%s", d)
	}
	return nil
}

// Unsigned is an Attester whose documents have the right shape and no
// signature, for tests of what goes into them.
type Unsigned struct{}

var _ nsm.Attester = Unsigned{}

// Document implements [nsm.Attester].
func (Unsigned) Document(c nsm.Claims) ([]byte, error) {
	p := payload{
		ModuleID:  c.ModuleID,
		Digest:    wire.DigestSHA384,
		Timestamp: 1,
		PCRs:      make(map[uint16][]byte, len(c.PCRs)),
		PublicKey: c.PublicKey,
		UserData:  c.UserData,
		Nonce:     c.Nonce,
	}
	for i, value := range c.PCRs {
		p.PCRs[i] = value[:]
	}
	b, err := cbor.Marshal(p)
	if err != nil {
		return nil, err
	}
	return cbor.Marshal(sign1{
		Protected:   []byte{0xa1, 0x01, 0x38, 0x22}, // {1: -35}, ES384
		Unprotected: map[any]any{},
		Payload:     b,
		Signature:   make([]byte, 96),
	})
}
