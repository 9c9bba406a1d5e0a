package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"testing"
)

// verify checks a signature with the public key alone, as a client does.
func verify(t *testing.T, spki []byte, a SigningAlgorithm, message, signature []byte) bool {
	t.Helper()
	public, err := x509.ParsePKIXPublicKey(spki)
	must(t, err)
	h := map[SigningAlgorithm]crypto.Hash{
		PSSSHA256: crypto.SHA256, PKCS1SHA256: crypto.SHA256, ECDSASHA256: crypto.SHA256,
		PSSSHA384: crypto.SHA384, PKCS1SHA384: crypto.SHA384, ECDSASHA384: crypto.SHA384,
		PSSSHA512: crypto.SHA512, PKCS1SHA512: crypto.SHA512, ECDSASHA512: crypto.SHA512,
	}[a]
	w := h.New()
	w.Write(message)
	digest := w.Sum(nil)
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(public, digest, signature)
	case *rsa.PublicKey:
		if a == PSSSHA256 || a == PSSSHA384 || a == PSSSHA512 {
			return rsa.VerifyPSS(public, h, digest, signature, &rsa.PSSOptions{SaltLength: h.Size()}) == nil
		}
		return rsa.VerifyPKCS1v15(public, h, digest, signature) == nil
	}
	return false
}

func TestSignVerify(t *testing.T) {
	r, _ := newTestRing(t)
	for _, spec := range []Spec{RSA2048, ECCP256, ECCP384, ECCP521} {
		k, other := create(t, r, spec, SignVerify), got(r.Create(Description{Spec: spec, Usage: SignVerify}))(t)
		spki := got(r.PublicKey(k.ID))(t)
		algorithms := k.SigningAlgorithms()
		for i, a := range algorithms {
			message := bytes.Repeat([]byte{byte(i + 1)}, MaxPlaintext)
			w := a.hash().New()
			w.Write(message)
			sum := w.Sum(nil)

			signature := got(r.Sign(k.ID, a, "", message))(t)
			if !verify(t, spki, a, message, signature) {
				t.Errorf("%s %s: the public key does not verify", spec, a)
			}
			must(t, r.Verify(k.ID, a, Raw, message, signature))
			must(t, r.Verify(k.ID, a, Digest, sum, signature))
			must(t, r.Verify(k.ID, a, Raw, message, got(r.Sign(k.ID, a, Digest, sum))(t)))

			changed := bytes.Clone(message)
			changed[0] ^= 1
			bad := bytes.Clone(signature)
			bad[len(bad)-1] ^= 1
			refused := []struct {
				what string
				err  error
			}{
				{"another message", r.Verify(k.ID, a, Raw, changed, signature)},
				{"another signature", r.Verify(k.ID, a, Raw, message, bad)},
				{"shorter signature", r.Verify(k.ID, a, Raw, message, signature[:len(signature)-1])},
				{"longer signature", r.Verify(k.ID, a, Raw, message, append(bytes.Clone(signature), 0))},
				{"another key", r.Verify(other.ID, a, Raw, message, signature)},
			}
			if b := algorithms[(i+1)%len(algorithms)]; b != a {
				refused = append(refused, struct {
					what string
					err  error
				}{"another algorithm", r.Verify(k.ID, b, Raw, message, signature)})
			}
			for _, test := range refused {
				if !errors.Is(test.err, ErrInvalidSignature) {
					t.Errorf("%s %s %s: %v", spec, a, test.what, test.err)
				}
			}
		}
	}
}

func TestSignRefuses(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, ECCP256, SignVerify)
	for _, test := range []struct {
		name    string
		a       SigningAlgorithm
		t       MessageType
		message []byte
		want    error
	}{
		{"no algorithm", "", Raw, []byte("m"), ErrInvalidUsage},
		{"algorithm of another curve", ECDSASHA384, Raw, []byte("m"), ErrInvalidUsage},
		{"algorithm of RSA", PSSSHA256, Raw, []byte("m"), ErrInvalidUsage},
		{"empty message", ECDSASHA256, Raw, nil, ErrValidation},
		{"message too long", ECDSASHA256, Raw, make([]byte, MaxPlaintext+1), ErrValidation},
		{"short digest", ECDSASHA256, Digest, make([]byte, 31), ErrValidation},
		{"long digest", ECDSASHA256, Digest, make([]byte, 33), ErrValidation},
		{"message type", ECDSASHA256, "EXTERNAL_MU", make([]byte, 64), ErrValidation},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantErr(t, ignore(r.Sign(k.ID, test.a, test.t, test.message)), test.want)
			wantErr(t, r.Verify(k.ID, test.a, test.t, test.message, []byte{1}), test.want)
		})
	}
	for _, n := range []int{0, MaxSignature + 1} {
		wantErr(t, r.Verify(k.ID, ECDSASHA256, Raw, []byte("m"), make([]byte, n)), ErrValidation)
	}
}
