package attestation

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// A payload is the signed part of a document (enclave-abi section 3.2).
type payload struct {
	moduleID    string
	timestamp   time.Time
	certificate []byte
	bundle      [][]byte
	claims      Claims
}

// digestName is the one value the field `digest` has.
const digestName = "SHA384"

// Keys of the payload's map.
const (
	keyModuleID    = "module_id"
	keyDigest      = "digest"
	keyTimestamp   = "timestamp"
	keyPCRs        = "pcrs"
	keyTPMPCRs     = "nitrotpm_pcrs" // in its place in documents of a NitroTPM
	keyCertificate = "certificate"
	keyCABundle    = "cabundle"
	keyPublicKey   = "public_key"
	keyUserData    = "user_data"
	keyNonce       = "nonce"
	payloadKeys    = 9
)

// payloadEncoding sorts the PCR map; the outer map is written by hand below, in
// the order it always has on the wire.
var payloadEncoding = func() cbor.EncMode {
	mode, err := cbor.EncOptions{Sort: cbor.SortBytewiseLexical}.EncMode()
	if err != nil {
		panic("attestation: " + err.Error()) // constant options
	}
	return mode
}()

func (p payload) encode() ([]byte, error) {
	// Always nine bytes on the wire, where the shortest form would do with
	// fewer until the year 2106.
	timestamp := binary.BigEndian.AppendUint64([]byte{0x1b}, uint64(p.timestamp.UnixMilli())) // after 1970, see regional

	pcrs := keyPCRs
	if p.claims.NitroTPM {
		pcrs = keyTPMPCRs
	}
	var out bytes.Buffer
	enc := payloadEncoding.NewEncoder(&out)
	if p.claims.Encoding == Encoding2025 {
		if err := enc.StartIndefiniteMap(); err != nil {
			return nil, fmt.Errorf("encode payload: %w", err)
		}
	} else {
		out.WriteByte(0xa0 | payloadKeys)
	}
	for _, field := range []struct {
		key   string
		value any
	}{
		{keyModuleID, p.moduleID},
		{keyDigest, digestName},
		{keyTimestamp, cbor.RawMessage(timestamp)},
		{pcrs, p.claims.PCRs},
		{keyCertificate, p.certificate},
		{keyCABundle, p.bundle},
		{keyPublicKey, p.claims.PublicKey}, // nil is encoded as null
		{keyUserData, p.claims.UserData},
		{keyNonce, p.claims.Nonce},
	} {
		if err := enc.Encode(field.key); err != nil {
			return nil, fmt.Errorf("encode payload: %w", err)
		}
		if err := enc.Encode(field.value); err != nil {
			return nil, fmt.Errorf("encode payload field %s: %w", field.key, err)
		}
	}
	if p.claims.Encoding == Encoding2025 {
		if err := enc.EndIndefinite(); err != nil {
			return nil, fmt.Errorf("encode payload: %w", err)
		}
	}
	if out.Len() > MaxPayload {
		return nil, fmt.Errorf("encode payload: %d bytes, at most %d are allowed", out.Len(), MaxPayload)
	}
	return out.Bytes(), nil
}
