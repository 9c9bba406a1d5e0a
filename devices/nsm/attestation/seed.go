package attestation

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
)

// SeedSize is the number of bytes [NewAuthority] reads from its entropy source:
// the length of a P-384 key and of a SHA-384 sum. Whoever keeps them can make the
// same root again.
const SeedSize = 48

// A seed is the one secret of an Authority. Every key, serial number and random
// name comes out of it by HKDF under a label, so results depend on what is
// issued and when, and not on which goroutine asked first. Go's own key
// generation and signing cannot be used for this: since Go 1.26 they ignore the
// random source they are given.
type seed []byte

func newSeed(entropy io.Reader) (seed, error) {
	s := make(seed, SeedSize)
	if _, err := io.ReadFull(entropy, s); err != nil {
		return nil, fmt.Errorf("read %d bytes of entropy: %w", SeedSize, err)
	}
	return s, nil
}

// derive gives n bytes for label; the same label always gives the same bytes.
func (s seed) derive(label string, n int) ([]byte, error) {
	out, err := hkdf.Key(sha512.New384, s, []byte("nitrolab attestation pki"), label, n)
	if err != nil {
		return nil, fmt.Errorf("derive %s: %w", label, err)
	}
	return out, nil
}

// key gives the P-384 key for label. A 48-byte string is no valid key only if
// it is zero or not below the order of the group, about once in 2^190; the
// counter makes even that a matter of one more round.
func (s seed) key(label string) (signer, error) {
	for round := range 4 {
		raw, err := s.derive(fmt.Sprintf("%s key %d", label, round), 48)
		if err != nil {
			return signer{}, err
		}
		if k, err := ecdsa.ParseRawPrivateKey(elliptic.P384(), raw); err == nil {
			return signer{k}, nil
		}
	}
	return signer{}, errors.New("derive " + label + " key: no valid scalar in four rounds")
}

// signer signs SHA-384 digests deterministically (RFC 6979): the random source
// that crypto/x509 and go-cose hand down is not used.
type signer struct{ key *ecdsa.PrivateKey }

// Public implements crypto.Signer.
func (s signer) Public() crypto.PublicKey { return s.key.Public() }

// Sign implements crypto.Signer. RFC 6979 must know the hash and go-cose passes
// no options, so it is always SHA-384, the only one this PKI uses.
func (s signer) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return s.key.Sign(nil, digest, crypto.SHA384)
}
