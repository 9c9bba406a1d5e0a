package keys

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"testing"
)

func TestDeriveSharedSecret(t *testing.T) {
	r, _ := newTestRing(t)
	for spec, test := range map[Spec]struct {
		curve ecdh.Curve
		size  int
	}{
		ECCP256: {ecdh.P256(), 32},
		ECCP384: {ecdh.P384(), 48},
		ECCP521: {ecdh.P521(), 66},
	} {
		k := create(t, r, spec, KeyAgreement)
		parsed, err := x509.ParsePKIXPublicKey(got(r.PublicKey(k.ID))(t))
		must(t, err)
		ours, err := parsed.(interface {
			ECDH() (*ecdh.PublicKey, error)
		}).ECDH()
		must(t, err)
		peer, err := test.curve.GenerateKey(rand.Reader)
		must(t, err)
		spki, err := x509.MarshalPKIXPublicKey(peer.PublicKey())
		must(t, err)
		want, err := peer.ECDH(ours)
		must(t, err)
		secret := got(r.DeriveSharedSecret(k.ID, ECDH, spki))(t)
		if !bytes.Equal(secret, want) || len(secret) != test.size {
			t.Errorf("%s: the two sides derive different secrets", spec)
		}
	}
}

func TestDeriveSharedSecretRefuses(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, ECCP256, KeyAgreement)
	good := got(r.PublicKey(create(t, r, ECCP256, KeyAgreement).ID))(t)
	got(r.DeriveSharedSecret(k.ID, ECDH, good))(t)
	offCurve := bytes.Clone(good)
	offCurve[len(offCurve)-1] ^= 1
	zero := bytes.Clone(good)
	clear(zero[len(zero)-64:])
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	must(t, err)
	montgomery, err := x509.MarshalPKIXPublicKey(x25519.PublicKey())
	must(t, err)
	for name, test := range map[string]struct {
		a    AgreementAlgorithm
		peer []byte
		want error
	}{
		"algorithm":     {"", good, ErrInvalidUsage},
		"none":          {ECDH, nil, ErrValidation},
		"too long":      {ECDH, make([]byte, MaxPublicKey+1), ErrValidation},
		"no DER":        {ECDH, []byte("key"), ErrValidation},
		"trailing byte": {ECDH, append(bytes.Clone(good), 0), ErrValidation},
		"truncated":     {ECDH, good[:len(good)-1], ErrValidation},
		"off the curve": {ECDH, offCurve, ErrValidation},
		"zero":          {ECDH, zero, ErrValidation},
		"another curve": {ECDH, got(r.PublicKey(create(t, r, ECCP384, KeyAgreement).ID))(t), ErrValidation},
		"X25519":        {ECDH, montgomery, ErrValidation},
		"RSA":           {ECDH, got(r.PublicKey(create(t, r, RSA2048, SignVerify).ID))(t), ErrValidation},
	} {
		t.Run(name, func(t *testing.T) {
			wantErr(t, ignore(r.DeriveSharedSecret(k.ID, test.a, test.peer)), test.want)
		})
	}
	signing := create(t, r, ECCP256, SignVerify)
	wantErr(t, ignore(r.DeriveSharedSecret(signing.ID, ECDH, good)), ErrInvalidUsage)
}

// Who changes what PublicKey returned does not change the key.
func TestPublicKeyIsACopy(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, ECCP256, SignVerify)
	clear(got(r.PublicKey(k.ID))(t))
	if bytes.Equal(got(r.PublicKey(k.ID))(t), make([]byte, 91)) {
		t.Error("the ring's own copy was cleared")
	}
}
