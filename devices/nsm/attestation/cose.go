package attestation

import (
	"crypto/ecdsa"
	"fmt"

	"github.com/veraison/go-cose"
)

// headers are those of every document: protected {1: -35}, unprotected {}.
func headers() cose.Headers {
	return cose.Headers{
		Protected:   cose.ProtectedHeader{cose.HeaderLabelAlgorithm: cose.AlgorithmES384},
		Unprotected: cose.UnprotectedHeader{},
	}
}

// seal signs a payload into an untagged COSE_Sign1 (RFC 9052 section 4.2).
// AWS's text draws tag 18; no genuine document has it.
func seal(s cose.Signer, payload []byte) ([]byte, error) {
	doc, err := cose.Sign1Untagged(nil, s, headers(), payload, nil)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return doc, nil
}

// checkSignature verifies a document's signature under key. Only the one
// protected header that Parse lets through is ever signed over.
func checkSignature(doc *Document, key *ecdsa.PublicKey) error {
	v, err := cose.NewVerifier(cose.AlgorithmES384, key)
	if err != nil {
		return err
	}
	msg := cose.Sign1Message{Headers: headers(), Payload: doc.payload, Signature: doc.signature}
	return msg.Verify(nil, v)
}
