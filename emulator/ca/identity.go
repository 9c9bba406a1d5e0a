package ca

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
)

// rsaBits of the key that signs identity documents: AWS's is of that size too.
const rsaBits = 2048

// IdentitySigner is the RSA-2048 key, and its self-signed certificate, for instance
// identity documents of a region. As AWS's it is the certificate itself that a
// verifier pins. It takes some tenths of a second to make.
func (a *Authority) IdentitySigner(region string) (*rsa.PrivateKey, *x509.Certificate, error) {
	key, err := a.rsaKey("identity document " + region)
	if err != nil {
		return nil, nil, fmt.Errorf("identity document key: %w", err)
	}
	serial, err := a.derive("identity document serial "+region, 16)
	if err != nil {
		return nil, nil, fmt.Errorf("identity document key: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber:       positive(serial),
		Subject:            pkix.Name{CommonName: "nitrolab emulated instance identity " + region, Organization: []string{"nitrolab"}},
		NotBefore:          notBefore,
		NotAfter:           notAfter,
		SignatureAlgorithm: x509.SHA256WithRSA, // PKCS#1 v1.5, so it needs no randomness
	}
	der, err := x509.CreateCertificate(nil, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("identity document certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("identity document certificate: %w", err)
	}
	return key, cert, nil
}

// rsaKey derives an RSA key: crypto/rsa has no way to make one from given
// randomness since Go 1.26.
func (a *Authority) rsaKey(label string) (*rsa.PrivateKey, error) {
	stream, err := a.stream(label)
	if err != nil {
		return nil, err
	}
	one := big.NewInt(1)
	e := big.NewInt(65537)
	for {
		p, err := prime(stream, rsaBits/2)
		if err != nil {
			return nil, err
		}
		q, err := prime(stream, rsaBits/2)
		if err != nil {
			return nil, err
		}
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(e, phi)
		if d == nil || p.Cmp(q) == 0 {
			continue
		}
		key := &rsa.PrivateKey{
			PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: int(e.Int64())},
			D:         d,
			Primes:    []*big.Int{p, q},
		}
		key.Precompute()
		return key, key.Validate()
	}
}

// prime takes the next prime from a stream of random bytes. Its two highest bits
// are set, so that the product of two has full length.
func prime(r io.Reader, bits int) (*big.Int, error) {
	b := make([]byte, bits/8)
	for {
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		b[0] |= 0xc0
		b[len(b)-1] |= 1
		if n := new(big.Int).SetBytes(b); n.ProbablyPrime(20) {
			return n, nil
		}
	}
}

// stream is an endless supply of bytes for label: AES-256 in counter mode.
func (a *Authority) stream(label string) (io.Reader, error) {
	key, err := a.derive(label, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.StreamReader{S: cipher.NewCTR(block, make([]byte, aes.BlockSize)), R: zeros{}}, nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
