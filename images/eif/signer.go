package eif

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

// A Signer signs images with one certificate and its key. It is immutable and
// safe for concurrent use if its key is.
type Signer struct {
	cert *x509.Certificate
	alg  cose.Algorithm
	key  crypto.Signer
}

// NewSigner reads a PEM certificate and its PEM private key (SEC 1 or PKCS #8,
// not encrypted; P-256, P-384 or P-521). Other blocks in either text are
// skipped, of several certificates the first one counts. Signatures made with
// such a key are deterministic (RFC 6979).
func NewSigner(certPEM, keyPEM []byte) (*Signer, error) {
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("eif: private key: %w", err)
	}
	return NewKeySigner(certPEM, key)
}

// NewKeySigner is [NewSigner] for a key that is somewhere else, such as in a
// key service. key.Sign must return an ASN.1 signature of the digest it is
// given.
func NewKeySigner(certPEM []byte, key crypto.Signer) (*Signer, error) {
	cert, err := parseCertificate(certPEM)
	if err != nil {
		return nil, fmt.Errorf("eif: signing certificate: %w", err)
	}
	alg, err := algorithmOf(cert.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("eif: signing certificate: %w", err)
	}
	if pub, ok := key.Public().(*ecdsa.PublicKey); !ok || !pub.Equal(cert.PublicKey) {
		return nil, errors.New("eif: private key does not belong to the signing certificate")
	}
	return &Signer{cert: cert, alg: alg, key: key}, nil
}

// Certificate is the signing certificate. It must not be changed.
func (s *Signer) Certificate() *x509.Certificate { return s.cert }

// section makes the data of a signature section over pcr0.
func (s *Signer) section(pcr0 Digest) ([]byte, error) {
	payload, err := signedPayload(pcr0)
	if err != nil {
		return nil, fmt.Errorf("eif: sign: %w", err)
	}
	signer, err := cose.NewSigner(s.alg, digestSigner{s.key, hashOf(s.alg)})
	if err != nil {
		return nil, fmt.Errorf("eif: sign: %w", err)
	}
	headers := cose.Headers{Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: s.alg}}
	message, err := cose.Sign1Untagged(nil, signer, headers, payload, nil)
	if err != nil {
		return nil, fmt.Errorf("eif: sign: %w", err)
	}
	// Only the certificate goes into the image, whatever else the PEM text
	// held: people keep the private key in the same file.
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw})
	data, err := cbor.Marshal([]pcrSignature{{SigningCertificate: certPEM, Signature: message}})
	if err != nil {
		return nil, fmt.Errorf("eif: sign: %w", err)
	}
	if len(data) > MaxSignature {
		return nil, fmt.Errorf("eif: sign: signature section has %d bytes, allowed are at most %d: the certificate is too large", len(data), MaxSignature)
	}
	return data, nil
}

// digestSigner signs without randomness, which makes an ECDSA key of the
// standard library choose its nonce by RFC 6979, and names the digest's hash,
// which that needs and go-cose leaves out.
type digestSigner struct {
	crypto.Signer
	hash crypto.Hash
}

// Sign implements crypto.Signer.
func (d digestSigner) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return d.Signer.Sign(nil, digest, d.hash)
}

// hashOf is the hash of a signature algorithm (RFC 9053 table 1).
func hashOf(alg cose.Algorithm) crypto.Hash {
	switch alg {
	case cose.AlgorithmES384:
		return crypto.SHA384
	case cose.AlgorithmES512:
		return crypto.SHA512
	}
	return crypto.SHA256
}

// parseKey reads the first private key of a PEM text.
func parseKey(text []byte) (crypto.Signer, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("no PEM private key")
		}
		switch block.Type {
		case "EC PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, errors.New("key is encrypted, allowed are plain keys")
			}
			return x509.ParseECPrivateKey(block.Bytes)
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, err
			}
			signer, ok := key.(crypto.Signer)
			if !ok {
				return nil, fmt.Errorf("key is %T, allowed are elliptic curve keys", key)
			}
			return signer, nil
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("key is encrypted, allowed are plain keys")
		}
		text = rest
	}
}
