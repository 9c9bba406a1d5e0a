package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// A material is one generation of a key. It is immutable.
type material struct {
	id     [materialIDSize]byte
	public []byte // SubjectPublicKeyInfo of RSA and ECC keys, DER

	// private is a function because package fmt, with a verb that does not fit,
	// looks into every struct that it can reach, through pointers and past all
	// methods; what a function holds it cannot reach.
	private func() private
}

// A private is the secret of a material; one of the fields is set.
type private struct {
	secret []byte            // of Symmetric and HMAC keys
	rsa    *rsa.PrivateKey   // of RSA keys
	ec     *ecdsa.PrivateKey // of ECC keys
}

// hide makes the private of a material.
func hide(p private) func() private { return func() private { return p } }

const (
	materialIDSize = 32
	symmetricSize  = 32 // of the root of the message keys, see blob.go
)

func (m *material) name() string { return hex.EncodeToString(m.id[:]) }

// Format implements fmt.Formatter for every verb.
func (m *material) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }

// String implements fmt.Stringer.
func (m *material) String() string { return "[redacted key material]" }

// LogValue implements slog.LogValuer.
func (m *material) LogValue() slog.Value { return slog.StringValue(m.String()) }

// MarshalText implements encoding.TextMarshaler.
func (m *material) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// newMaterial makes the secret of a key with that spec, which must be a known one.
func (r *Ring) newMaterial(spec Spec) (*material, error) {
	m := &material{}
	if err := r.read(m.id[:]); err != nil {
		return nil, err
	}
	if n := spec.secretSize(); n > 0 {
		secret := make([]byte, n)
		m.private = hide(private{secret: secret})
		return m, r.read(secret)
	}
	pair, err := r.newPrivateKey(spec)
	if err != nil {
		return nil, err
	}
	return m, m.hold(pair)
}

// newPrivateKey makes an RSA or ECC key.
func (r *Ring) newPrivateKey(spec Spec) (any, error) {
	if bits := spec.rsaBits(); bits > 0 {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			return nil, internal("make RSA key", err)
		}
		return k, nil
	}
	curve := spec.curve()
	if curve == nil {
		return nil, internal("make key", fmt.Errorf("KeySpec %s has no key pair", spec))
	}
	return r.newCurveKey(curve)
}

// newCurveKey draws a scalar from the ring's entropy, which crypto/ecdsa would not
// use. A draw is not below the order of the group about once in 2^32 for P-256, and
// far more rarely for the others (P-521: after the seven bits above the order are
// cleared); an entropy source that never gives a valid one is broken.
func (r *Ring) newCurveKey(curve elliptic.Curve) (*ecdsa.PrivateKey, error) {
	bits := curve.Params().BitSize
	raw := make([]byte, (bits+7)/8)
	defer clear(raw)
	for range 16 {
		if err := r.read(raw); err != nil {
			return nil, err
		}
		raw[0] &= 0xff >> (len(raw)*8 - bits)
		if k, err := ecdsa.ParseRawPrivateKey(curve, raw); err == nil {
			return k, nil
		}
	}
	return nil, internal("make ECC key", errors.New("the source of entropy gives no valid scalar"))
}

// hold takes a key pair of either kind into the material.
func (m *material) hold(pair any) error {
	var public any
	switch k := pair.(type) {
	case *rsa.PrivateKey:
		m.private, public = hide(private{rsa: k}), k.Public()
	case *ecdsa.PrivateKey:
		m.private, public = hide(private{ec: k}), k.Public()
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return internal("encode public key", err)
	}
	m.public = der
	return nil
}

// secretSize is the length of the material that is a string of bytes: that of the
// hash for HMAC keys (RFC 2104 section 3 advises against less).
func (s Spec) secretSize() int {
	switch s {
	case Symmetric:
		return symmetricSize
	case HMAC224:
		return 28
	case HMAC256:
		return 32
	case HMAC384:
		return 48
	case HMAC512:
		return 64
	}
	return 0
}

func (s Spec) curve() elliptic.Curve {
	switch s {
	case ECCP256:
		return elliptic.P256()
	case ECCP384:
		return elliptic.P384()
	case ECCP521:
		return elliptic.P521()
	}
	return nil
}
