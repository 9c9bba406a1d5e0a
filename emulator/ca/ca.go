// Package ca is the certificate authority of a Host's services: it gives the key
// service the name that stock clients connect to, and signs instance identity
// documents. The attestation PKI of enclaves is another one, package attestation.
//
// Everything a client pins comes out of the Host's seed, so that it stays the same
// as long as the Host does: the CA certificate goes into enclave images and is
// measured there.
package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"
)

// SeedSize is the least length of a seed, in bytes.
const SeedSize = 32

// rootName makes the root visibly nobody's but ours.
const rootName = "nitrolab emulated services root"

// Validity of the root, fixed so that equal seeds give equal certificates.
var (
	notBefore = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC)
)

// An Authority is the CA of one Host. Its methods may be called concurrently.
type Authority struct {
	seed  []byte
	clock func() time.Time
	key   signer
	root  *x509.Certificate

	servers servers
}

// New makes the CA that belongs to a seed of at least SeedSize bytes. Two with the
// same seed are the same CA. A nil clock is time.Now.
func New(seed []byte, clock func() time.Time) (*Authority, error) {
	if len(seed) < SeedSize {
		return nil, fmt.Errorf("services CA: seed has %d bytes; allowed are %d or more", len(seed), SeedSize)
	}
	if clock == nil {
		clock = time.Now
	}
	a := &Authority{seed: bytes.Clone(seed), clock: clock}
	a.servers.certs = map[string]*serverCert{}
	var err error
	if a.key, err = a.deriveKey("root"); err != nil {
		return nil, fmt.Errorf("services CA: %w", err)
	}
	serial, err := a.derive("root serial", 16)
	if err != nil {
		return nil, fmt.Errorf("services CA: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber:          positive(serial),
		Subject:               pkix.Name{CommonName: rootName, Organization: []string{"nitrolab"}},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            0,
		MaxPathLenZero:        true,
		SignatureAlgorithm:    x509.ECDSAWithSHA384,
	}
	der, err := x509.CreateCertificate(nil, tmpl, tmpl, a.key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("services CA: %w", err)
	}
	if a.root, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("services CA: %w", err)
	}
	return a, nil
}

// Root is the certificate that clients of the services have to trust. The caller
// does not modify it.
func (a *Authority) Root() *x509.Certificate { return a.root }

// RootPEM is Root as one PEM block, as for /etc/ssl/certs/ca-certificates.crt.
func (a *Authority) RootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.Raw})
}

// derive gives n bytes for label; the same label always gives the same bytes.
func (a *Authority) derive(label string, n int) ([]byte, error) {
	out, err := hkdf.Key(sha512.New384, a.seed, []byte("nitrolab services ca"), label, n)
	if err != nil {
		return nil, fmt.Errorf("derive %s: %w", label, err)
	}
	return out, nil
}

// deriveKey gives the P-384 key for label. Once in 2^190 the bytes are no key, and
// then the next round's are.
func (a *Authority) deriveKey(label string) (signer, error) {
	for round := range 4 {
		raw, err := a.derive(fmt.Sprintf("%s key %d", label, round), 48)
		if err != nil {
			return signer{}, err
		}
		if k, err := ecdsa.ParseRawPrivateKey(elliptic.P384(), raw); err == nil {
			return signer{k}, nil
		}
	}
	return signer{}, errors.New("derive " + label + " key: no valid scalar in four rounds")
}

// positive is bytes as a serial number, which has to be above zero.
func positive(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	n.SetBit(n, 8*len(b)-1, 0) // or its DER would be a byte longer
	return n.SetBit(n, 0, 1)
}

// signer signs deterministically (RFC 6979): the root has to be the same bytes
// every time.
type signer struct{ *ecdsa.PrivateKey }

// Sign implements [crypto.Signer].
func (s signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.PrivateKey.Sign(nil, digest, opts)
}
