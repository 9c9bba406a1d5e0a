package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"slices"
)

// Sign signs a message of 1..4096 bytes or its digest; an empty type means Raw.
//
// Errors are [ErrNotFound], [ErrDisabled], [ErrInvalidState], [ErrInvalidUsage] for a
// key or algorithm of another kind, and [ErrValidation].
func (r *Ring) Sign(id string, a SigningAlgorithm, t MessageType, message []byte) ([]byte, error) {
	p, digest, err := r.signingKey(id, a, t, message)
	if err != nil {
		return nil, err
	}
	var signature []byte
	switch {
	case p.ec != nil:
		signature, err = ecdsa.SignASN1(rand.Reader, p.ec, digest)
	case a.pss():
		signature, err = rsa.SignPSS(rand.Reader, p.rsa, a.hash(), digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	default:
		signature, err = rsa.SignPKCS1v15(nil, p.rsa, a.hash(), digest)
	}
	if err != nil {
		return nil, internal("sign", err)
	}
	return signature, nil
}

// Verify checks a signature of 1..6144 bytes. The error is [ErrInvalidSignature] if
// it is not the key's over that message with that algorithm; others are those of
// Sign.
func (r *Ring) Verify(id string, a SigningAlgorithm, t MessageType, message, signature []byte) error {
	p, digest, err := r.signingKey(id, a, t, message)
	if err != nil {
		return err
	}
	if len(signature) == 0 || len(signature) > MaxSignature {
		return fail(ErrValidation, "Signature has %d bytes; allowed are 1 to %d", len(signature), MaxSignature)
	}
	var valid bool
	switch {
	case p.ec != nil:
		valid = ecdsa.VerifyASN1(&p.ec.PublicKey, digest, signature)
	case a.pss():
		valid = rsa.VerifyPSS(&p.rsa.PublicKey, a.hash(), digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	default:
		valid = rsa.VerifyPKCS1v15(&p.rsa.PublicKey, a.hash(), digest, signature) == nil
	}
	if !valid {
		return &Error{Exception: ErrInvalidSignature}
	}
	return nil
}

// signingKey finds the key for an algorithm, and makes the digest.
func (r *Ring) signingKey(id string, a SigningAlgorithm, t MessageType, message []byte) (private, []byte, error) {
	e, err := r.usableFor(id, SignVerify)
	if err != nil {
		return private{}, nil, err
	}
	if !slices.Contains(e.key.SigningAlgorithms(), a) {
		return private{}, nil, e.key.incompatible(string(a))
	}
	digest, err := digest(a.hash(), t, message)
	return e.current().private(), digest, err
}

func digest(h crypto.Hash, t MessageType, message []byte) ([]byte, error) {
	switch {
	case t == Digest && len(message) != h.Size():
		return nil, fail(ErrValidation, "Digest is invalid length for algorithm: it has %d bytes; allowed are %d", len(message), h.Size())
	case t == Digest:
		return message, nil
	case t != Raw && t != "":
		return nil, fail(ErrValidation, "MessageType is %q; allowed are RAW and DIGEST", clip(string(t)))
	case len(message) == 0 || len(message) > MaxPlaintext:
		return nil, fail(ErrValidation, "Message has %d bytes; allowed are 1 to %d", len(message), MaxPlaintext)
	}
	d := h.New()
	d.Write(message)
	return d.Sum(nil), nil
}
