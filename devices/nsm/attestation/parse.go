package attestation

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// A ParseError says why bytes are no attestation document. errors.Is finds the
// sentinel of the check in it: ErrFormat, ErrSignature, ErrDigest or
// ErrTimestamp.
type ParseError struct {
	Check string // the check of [Verify] that this fails
	Err   error
}

func (e *ParseError) Error() string { return "parse attestation document: " + e.Err.Error() }
func (e *ParseError) Unwrap() error { return e.Err }

func malformed(format string, args ...any) error {
	return &ParseError{CheckFormat, fail(ErrFormat, format, args...)}
}

// tagSign1 is the one head of CBOR tag 18, COSE_Sign1.
const tagSign1 = 0xd2

// Parse decodes a document and checks everything that can be checked without a
// key, a clock or a policy: the COSE_Sign1 structure with or without tag 18,
// headers that say ES384 and nothing else, presence, types, counts and sizes of
// the fields. The sizes of public_key, user_data and nonce are left to [Verify],
// because hardware signs longer ones than AWS's text allows.
//
// It copies what it keeps and takes time and memory linear in len(raw), of
// which at most [MaxDocument] is accepted. Every error is a *ParseError.
func Parse(raw []byte) (*Document, error) {
	if len(raw) > MaxDocument {
		return nil, malformed("%d bytes, at most %d are allowed", len(raw), MaxDocument)
	}
	doc := &Document{}
	if len(raw) > 0 && raw[0] == tagSign1 {
		doc.Tagged, raw = true, raw[1:]
	}
	if err := doc.parseEnvelope(raw); err != nil {
		return nil, err
	}
	if err := doc.parsePayload(); err != nil {
		return nil, err
	}
	return doc, nil
}

// parseEnvelope reads COSE_Sign1, RFC 9052 section 4.2: [protected,
// unprotected, payload, signature].
func (d *Document) parseEnvelope(raw []byte) error {
	if len(raw) == 0 {
		return malformed("nothing there")
	}
	if raw[0] != 0x84 {
		return malformed("begins with %02x: %s, not an array of 4 with tag 18 or none", raw[0], majorNames[raw[0]>>5])
	}
	var items [4]cbor.RawMessage
	rest := raw[1:]
	for i, name := range []string{"protected header", "unprotected header", "payload", "signature"} {
		var err error
		if items[i], rest, err = next(rest); err != nil {
			return malformed("%s: %v", name, err)
		}
	}
	if len(rest) > 0 {
		return malformed("%d bytes after the document", len(rest))
	}
	var protected []byte
	if err := decode(items[0], majorBytes, &protected); err != nil {
		return malformed("protected header %v", err)
	}
	if !bytes.Equal(items[1], []byte{0xa0}) {
		return malformed("unprotected header is not an empty map")
	}
	if err := checkProtected(protected); err != nil {
		return err
	}
	if err := decode(items[2], majorBytes, &d.payload); err != nil {
		return malformed("payload %v", err)
	}
	if n := len(d.payload); n < 1 || n > MaxPayload {
		return malformed("payload has %d bytes, 1 to %d are allowed", n, MaxPayload)
	}
	if err := decode(items[3], majorBytes, &d.signature); err != nil {
		return malformed("signature %v", err)
	}
	if n := len(d.signature); n != signatureSize {
		return &ParseError{CheckSignature, fail(ErrSignature, "signature has %d bytes, want r and s of 48 each", n)}
	}
	return nil
}

// COSE header labels (RFC 9052 section 3.1) and the algorithm ES384 (RFC 9053
// section 2.1).
const (
	labelAlg  = 1
	labelCrit = 2
	algES384  = -35
)

var protectedES384 = []byte{0xa1, 0x01, 0x38, 0x22}

// checkProtected lets the four bytes through that every document has. What it
// decodes further, it decodes to say what is wrong.
func checkProtected(protected []byte) error {
	if bytes.Equal(protected, protectedES384) {
		return nil
	}
	var alg cbor.RawMessage
	rest, err := eachPair(protected, 16, false, func(key, value cbor.RawMessage) error {
		var label int64
		if strict.Unmarshal(key, &label) != nil {
			return errors.New("has a label that is not a small integer")
		}
		switch label {
		case labelAlg:
			if alg != nil {
				return errors.New("names its algorithm twice")
			}
			alg = value
			return nil
		case labelCrit:
			return errors.New("has critical headers (crit)")
		}
		return fmt.Errorf("has an unknown header %d", label)
	})
	if err != nil {
		return malformed("protected header %v", err)
	}
	if len(rest) > 0 {
		return malformed("protected header has %d bytes after its map", len(rest))
	}
	var id int64
	switch {
	case alg == nil:
		return &ParseError{CheckSignature, fail(ErrSignature, "protected header names no algorithm")}
	case strict.Unmarshal(alg, &id) != nil:
		return &ParseError{CheckSignature, fail(ErrSignature, "algorithm is not an integer")}
	case id != algES384:
		return &ParseError{CheckSignature, fail(ErrSignature, "algorithm %d, want ES384 (%d)", id, algES384)}
	}
	return malformed("protected header is not in its shortest form")
}
