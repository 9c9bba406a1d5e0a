package keys

import (
	"crypto/ecdsa"
	"crypto/x509"
)

// PublicKey is the public half of an RSA or ECC key: SubjectPublicKeyInfo in DER
// (RFC 5280 section 4.1.2.7), whatever the usage. Errors are [ErrNotFound],
// [ErrDisabled], [ErrInvalidState], and [ErrUnsupported] for other keys.
func (r *Ring) PublicKey(id string) ([]byte, error) {
	e, err := r.entry(id)
	if err != nil {
		return nil, err
	}
	if !e.key.Spec.asymmetric() {
		return nil, fail(ErrUnsupported, "%s has KeySpec %s which has no public key", e.key.ARN, e.key.Spec)
	}
	if err := e.key.usable(); err != nil {
		return nil, err
	}
	return append([]byte(nil), e.current().public...), nil
}

// DeriveSharedSecret agrees with a peer on the raw x coordinate of ECDH (SP 800-56A
// section 5.7.1.2), as long as the field of the curve: 32, 48 or 66 bytes. The peer's
// key is a SubjectPublicKeyInfo in DER of up to 8192 bytes, on the key's curve.
//
// Errors are [ErrNotFound], [ErrDisabled], [ErrInvalidState], [ErrInvalidUsage] for a
// key or algorithm of another kind, and [ErrValidation].
func (r *Ring) DeriveSharedSecret(id string, a AgreementAlgorithm, peer []byte) (Secret, error) {
	e, err := r.usableFor(id, KeyAgreement)
	if err != nil {
		return nil, err
	}
	if a != ECDH {
		return nil, e.key.incompatible(string(a))
	}
	if len(peer) == 0 || len(peer) > MaxPublicKey {
		return nil, fail(ErrValidation, "PublicKey has %d bytes; allowed are 1 to %d", len(peer), MaxPublicKey)
	}
	parsed, err := x509.ParsePKIXPublicKey(peer)
	if err != nil {
		return nil, fail(ErrValidation, "PublicKey is not a SubjectPublicKeyInfo in DER")
	}
	own := e.current().private().ec
	public, ok := parsed.(*ecdsa.PublicKey)
	if !ok || public.Curve != own.Curve {
		return nil, fail(ErrValidation, "PublicKey is not on the curve of %s, whose KeySpec is %s", e.key.ARN, e.key.Spec)
	}
	remote, err := public.ECDH()
	if err != nil {
		return nil, fail(ErrValidation, "PublicKey is not a point of the curve")
	}
	local, err := own.ECDH()
	if err != nil {
		return nil, internal("derive shared secret", err)
	}
	secret, err := local.ECDH(remote)
	if err != nil {
		return nil, internal("derive shared secret", err)
	}
	return secret, nil
}
