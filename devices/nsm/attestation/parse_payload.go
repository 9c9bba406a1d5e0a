package attestation

import (
	"errors"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// parsePayload reads the map of enclave-abi section 3.2, in any order. Keys it
// does not know are refused: AWS's definition is closed.
func (d *Document) parsePayload() error {
	pairs, _, err := mapHead(d.payload)
	if err != nil {
		return malformed("payload %v", err)
	}
	d.Encoding = Encoding2021
	if pairs < 0 {
		d.Encoding = Encoding2025
	}
	seen := make(map[string]bool, payloadKeys)
	rest, err := eachPair(d.payload, payloadKeys, true, func(k, value cbor.RawMessage) error {
		var key string
		if err := decode(k, majorText, &key); err != nil {
			return malformed("payload: a key %v", err)
		}
		if seen[key] {
			return malformed("payload: key %q is there twice", key)
		}
		seen[key] = true
		return d.parseField(key, value)
	})
	if parse := (*ParseError)(nil); errors.As(err, &parse) {
		return parse
	}
	if err != nil {
		return malformed("payload %v", err)
	}
	if len(rest) > 0 {
		return malformed("payload has %d bytes after its map", len(rest))
	}
	if seen[keyPCRs] && seen[keyTPMPCRs] {
		return malformed("payload: %s and %s are both there", keyPCRs, keyTPMPCRs)
	}
	pcrs := keyPCRs
	if seen[keyTPMPCRs] {
		pcrs = keyTPMPCRs
	}
	for _, key := range []string{keyModuleID, keyDigest, keyTimestamp, pcrs, keyCertificate, keyCABundle} {
		if !seen[key] {
			return malformed("payload: %s is missing", key)
		}
	}
	return nil
}

func (d *Document) parseField(key string, value cbor.RawMessage) error {
	switch key {
	case keyModuleID:
		if err := decode(value, majorText, &d.ModuleID); err != nil {
			return malformed("module_id %v", err)
		}
		if d.ModuleID == "" {
			return malformed("module_id is empty")
		}
	case keyDigest:
		if err := decode(value, majorText, &d.Digest); err != nil {
			return malformed("digest %v", err)
		}
		if d.Digest != digestName {
			return &ParseError{CheckDigest, fail(ErrDigest, "expected %s, found %.20q", digestName, d.Digest)}
		}
	case keyTimestamp:
		if err := decode(value, majorUint, &d.Timestamp); err != nil {
			return malformed("timestamp %v", err)
		}
		if d.Timestamp == 0 || d.Timestamp > maxTimestamp {
			return &ParseError{CheckTimestamp, fail(ErrTimestamp, "%d ms is not between 1970 and the year 10000", d.Timestamp)}
		}
	case keyPCRs:
		return d.parsePCRs(key, value)
	case keyTPMPCRs:
		d.NitroTPM = true
		return d.parsePCRs(key, value)
	case keyCertificate:
		return certificateField(key, value, &d.Certificate)
	case keyCABundle:
		return d.parseBundle(value)
	case keyPublicKey:
		return optionalField(key, value, &d.PublicKey)
	case keyUserData:
		return optionalField(key, value, &d.UserData)
	case keyNonce:
		return optionalField(key, value, &d.Nonce)
	default:
		return malformed("payload: unknown key %.40q", key)
	}
	return nil
}

func optionalField(key string, value cbor.RawMessage, to *[]byte) error {
	if len(value) == 1 && value[0] == cborNull {
		return nil
	}
	if err := decode(value, majorBytes, to); err != nil {
		return malformed("%s %v", key, err)
	}
	return nil
}

func certificateField(name string, value cbor.RawMessage, to *[]byte) error {
	if err := decode(value, majorBytes, to); err != nil {
		return malformed("%s %v", name, err)
	}
	if n := len(*to); n < 1 || n > MaxCertificate {
		return malformed("%s has %d bytes, 1 to %d are allowed", name, n, MaxCertificate)
	}
	return nil
}

// parsePCRs compares indexes by value, so 0 and a longer form of 0 are one key.
func (d *Document) parsePCRs(key string, value cbor.RawMessage) error {
	most := lastPCR(key == keyTPMPCRs)
	d.PCRs = make(map[uint][]byte, 16)
	_, err := eachPair(value, maxPCRs, false, func(k, v cbor.RawMessage) error {
		var index uint64
		if err := decode(k, majorUint, &index); err != nil {
			return fmt.Errorf("has a key that %w", err)
		}
		if index > uint64(most) {
			return fmt.Errorf("has PCR%d, the last is PCR%d", index, most)
		}
		i := uint(index)
		if _, twice := d.PCRs[i]; twice {
			return fmt.Errorf("has PCR%d twice", i)
		}
		var pcr []byte
		if err := decode(v, majorBytes, &pcr); err != nil {
			return fmt.Errorf("PCR%d %w", i, err)
		}
		if !slices.Contains([]int{32, 48, 64}, len(pcr)) {
			return fmt.Errorf("has %d bytes in PCR%d, want 32, 48 or 64", len(pcr), i)
		}
		d.PCRs[i] = pcr
		return nil
	})
	if err != nil {
		return malformed("%s %v", key, err)
	}
	if len(d.PCRs) == 0 {
		return malformed("%s is empty", key)
	}
	return nil
}

func (d *Document) parseBundle(value cbor.RawMessage) error {
	var items []cbor.RawMessage
	if err := decode(value, majorArray, &items); err != nil {
		return malformed("cabundle %v", err)
	}
	if len(items) == 0 {
		return malformed("cabundle is empty")
	}
	d.CABundle = make([][]byte, len(items))
	for i, item := range items {
		if err := certificateField(fmt.Sprintf("cabundle[%d]", i), item, &d.CABundle[i]); err != nil {
			return err
		}
	}
	return nil
}
