package keys

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"testing"
)

func TestGenerateDataKey(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, Symmetric, "")
	context := map[string]string{"a": "b"}
	for _, n := range []int{1, 16, 32, MaxRandom} {
		d := got(r.GenerateDataKey(k.ID, n, context))(t)
		p := got(r.Decrypt(k.ID, "", d.Blob, context))(t)
		if len(d.Plaintext) != n || !bytes.Equal(d.Plaintext, p.Plaintext) || d.MaterialID != k.MaterialID {
			t.Errorf("%d bytes: the two halves differ", n)
		}
		wantErr(t, ignore(r.Decrypt(k.ID, "", d.Blob, nil)), ErrInvalidCiphertext)
	}
	for _, n := range []int{-1, 0, MaxRandom + 1} {
		wantErr(t, ignore(r.GenerateDataKey(k.ID, n, nil)), ErrValidation)
		wantErr(t, ignore(r.GenerateRandom(n)), ErrValidation)
	}
	rsaKey := create(t, r, RSA2048, EncryptDecrypt)
	wantErr(t, ignore(r.GenerateDataKey(rsaKey.ID, 32, nil)), ErrInvalidUsage)
}

func TestGenerateDataKeyPair(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, Symmetric, "")
	context := map[string]string{"a": "b"}
	for _, spec := range []Spec{RSA2048, RSA3072, ECCP256, ECCP384, ECCP521} {
		d := got(r.GenerateDataKeyPair(k.ID, spec, context))(t)
		if p := got(r.Decrypt(k.ID, "", d.Blob, context))(t); !bytes.Equal(p.Plaintext, d.PrivateKey) {
			t.Errorf("%s: the two private keys differ", spec)
		}
		private, err := x509.ParsePKCS8PrivateKey(d.PrivateKey)
		must(t, err)
		public, err := x509.ParsePKIXPublicKey(d.PublicKey)
		must(t, err)
		var fits bool
		switch private := private.(type) {
		case *rsa.PrivateKey:
			fits = private.PublicKey.Equal(public) && private.N.BitLen() == map[Spec]int{RSA2048: 2048, RSA3072: 3072}[spec]
		case *ecdsa.PrivateKey:
			fits = private.PublicKey.Equal(public) && private.Curve == map[Spec]elliptic.Curve{ECCP256: elliptic.P256(), ECCP384: elliptic.P384(), ECCP521: elliptic.P521()}[spec]
		}
		if !fits {
			t.Errorf("%s: the pair is none, or another kind", spec)
		}
	}
	for _, spec := range []Spec{"", Symmetric, HMAC256, "SM2", "ECC_SECG_P256K1"} {
		wantErr(t, ignore(r.GenerateDataKeyPair(k.ID, spec, nil)), ErrUnsupported)
	}
}
