package attestation

import (
	"crypto/ecdsa"
	"crypto/sha512"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hf/nitrite"
	veracruz "github.com/veracruz-project/go-nitro-enclave-attestation-document"
)

// Verifiers written by others, and one written here by hand, must accept our
// documents with our root; this package's own verdict about its own documents
// proves little.

var encodings = []Encoding{Encoding2021, Encoding2025}

var independentClaims = Claims{
	PCRs: productionPCRs(), Nonce: []byte("nonce"), UserData: []byte("user data"), PublicKey: []byte("public key"),
}

// TestNitrite: hf/nitrite, which nitriding-daemon and others build on.
func TestNitrite(t *testing.T) {
	for _, names := range []Names{NamesEmulated, NamesAWS} {
		a := newTestAuthority(t, Config{Names: names})
		roots := x509.NewCertPool()
		roots.AddCert(a.Root())
		for _, e := range encodings {
			t.Run(names.String()+" "+e.String(), func(t *testing.T) {
				c := independentClaims
				c.Encoding = e
				raw := newTestDocument(t, newTestIssuer(t, a), c)
				r, err := nitrite.Verify(raw, nitrite.VerifyOptions{Roots: roots, CurrentTime: t0})
				if err != nil {
					t.Fatal(err)
				}
				if !r.SignatureOK {
					t.Error("signature is not OK")
				}
				d := r.Document
				got := Claims{PCRs: d.PCRs, Nonce: d.Nonce, UserData: d.UserData, PublicKey: d.PublicKey, Encoding: e}
				if diff := cmp.Diff(c, got); diff != "" {
					t.Errorf("what nitrite read (-want +got):\n%s", diff)
				}
				if d.Timestamp != uint64(t0.UnixMilli()) || d.ModuleID != ModuleID(testEnclave.InstanceID, testEnclave.SlotUID) {
					t.Errorf("nitrite read timestamp %d and module_id %s", d.Timestamp, d.ModuleID)
				}
				// With its default root, AWS's, it must refuse.
				if _, err := nitrite.Verify(raw, nitrite.VerifyOptions{CurrentTime: t0}); err == nil {
					t.Error("nitrite accepts our document under AWS's root")
				}
			})
		}
	}
}

// TestVeracruz: verifies with go-cose at the real time, and wants tag 18, which
// it adds itself if told to. It never reads module_id and public_key, whose
// names its decoder does not match, so those are not compared.
func TestVeracruz(t *testing.T) {
	a := newTestAuthority(t, Config{Clock: time.Now})
	for _, e := range encodings {
		t.Run(e.String(), func(t *testing.T) {
			c := independentClaims
			c.Encoding = e
			raw := newTestDocument(t, newTestIssuer(t, a), c)
			for _, tt := range []struct {
				name string
				raw  []byte
				add  bool
			}{{"as issued", raw, true}, {"tagged by us", append([]byte{tagSign1}, raw...), false}} {
				d, err := veracruz.AuthenticateDocument(tt.raw, *a.Root(), tt.add)
				if err != nil {
					t.Errorf("%s: %v", tt.name, err)
					continue
				}
				pcrs := make(map[uint][]byte)
				for i, v := range d.PCRs {
					pcrs[uint(i)] = v
				}
				got := Claims{PCRs: pcrs, Nonce: d.Nonce, UserData: d.User_Data, PublicKey: c.PublicKey, Encoding: e}
				if diff := cmp.Diff(c, got); diff != "" {
					t.Errorf("%s: what it read (-want +got):\n%s", tt.name, diff)
				}
			}
			other := newTestAuthority(t, Config{Clock: time.Now, Entropy: entropy(3)})
			if _, err := veracruz.AuthenticateDocument(raw, *other.Root(), true); err == nil {
				t.Error("accepted under the root of another authority")
			}
		})
	}
}

// TestRawES384 verifies a signature with crypto/ecdsa alone, over a
// Sig_structure put together byte by byte: RFC 9052 section 4.4.
func TestRawES384(t *testing.T) {
	for _, e := range encodings {
		raw := newTestDocument(t, newTestIssuer(t, newTestAuthority(t, Config{})), Claims{PCRs: productionPCRs(), Encoding: e})
		// 84 44a1013822 a0 59llll <payload> 5860 <signature>
		n := int(raw[8])<<8 | int(raw[9])
		payload, signature := raw[10:10+n], raw[10+n+2:]
		if len(signature) != 96 {
			t.Fatalf("%v: signature of %d bytes", e, len(signature))
		}
		message := append([]byte("\x84\x6aSignature1\x44\xa1\x01\x38\x22\x40\x59"), byte(n>>8), byte(n))
		digest := sha512.Sum384(append(message, payload...))
		doc, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(doc.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
		if !ok {
			t.Fatalf("leaf has a %T", leaf.PublicKey)
		}
		r, s := new(big.Int).SetBytes(signature[:48]), new(big.Int).SetBytes(signature[48:])
		if !ecdsa.Verify(key, digest[:], r, s) {
			t.Errorf("%v: signature does not verify", e)
		}
	}
}
