package harness_test

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

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

// The verifiers below are other people's, and one made by hand: what nitrolab
// says about its own documents proves nothing.

// claims are what a document says, as far as all of them read it.
type claims struct {
	PCRs  map[uint][]byte
	Nonce []byte
}

func claimsOf(doc *attestation.Document) claims { return claims{doc.PCRs, doc.Nonce} }

// mustNitrite checks a document with hf/nitrite, on which nitriding-daemon and
// others are built, at a time.
func mustNitrite(t *testing.T, root *x509.Certificate, raw []byte, at time.Time, want claims) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(root)
	r, err := nitrite.Verify(raw, nitrite.VerifyOptions{Roots: roots, CurrentTime: at})
	if err != nil {
		t.Errorf("nitrite: %v", err)
		return
	}
	if !r.SignatureOK {
		t.Error("nitrite: signature is not OK")
	}
	if diff := cmp.Diff(want, claims{r.Document.PCRs, r.Document.Nonce}); diff != "" {
		t.Errorf("nitrite read (-want +got):\n%s", diff)
	}
	// Its default root is AWS's.
	if _, err := nitrite.Verify(raw, nitrite.VerifyOptions{CurrentTime: at}); err == nil {
		t.Error("nitrite accepts the document under AWS's root")
	}
}

// mustVeracruz checks a document with veracruz-project's package, which knows no
// other time than now.
func mustVeracruz(t *testing.T, root *x509.Certificate, raw []byte, want claims) {
	t.Helper()
	d, err := veracruz.AuthenticateDocument(raw, *root, true)
	if err != nil {
		t.Errorf("veracruz: %v", err)
		return
	}
	got := claims{map[uint][]byte{}, d.Nonce}
	for i, v := range d.PCRs {
		got.PCRs[uint(i)] = v
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("veracruz read (-want +got):\n%s", diff)
	}
}

// mustES384 checks the signature with crypto/ecdsa alone, over a Sig_structure
// put together byte by byte (RFC 9052 section 4.4), and the chain with
// crypto/x509.
func mustES384(t *testing.T, root *x509.Certificate, raw []byte, at time.Time) {
	t.Helper()
	// 84 44a1013822 a0 59llll <payload> 5860 <signature>
	if len(raw) < 10 || string(raw[:8]) != "\x84\x44\xa1\x01\x38\x22\xa0\x59" {
		t.Fatalf("document begins % x", raw[:min(len(raw), 10)])
	}
	n := int(be.Uint16(raw[8:]))
	if len(raw) != 10+n+2+96 || string(raw[10+n:10+n+2]) != "\x58\x60" {
		t.Fatalf("document has %d bytes, %d of them payload", len(raw), n)
	}
	payload, signature := raw[10:10+n], raw[10+n+2:]
	message := append([]byte("\x84\x6aSignature1\x44\xa1\x01\x38\x22\x40\x59"), raw[8:10]...)
	digest := sha512.Sum384(append(message, payload...))

	doc, err := attestation.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(doc.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:48]), new(big.Int).SetBytes(signature[48:])) {
		t.Error("signature is not the leaf's")
	}
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	opts.Roots.AddCert(root)
	for _, der := range doc.CABundle[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		opts.Intermediates.AddCert(c)
	}
	if chains, err := leaf.Verify(opts); err != nil || len(chains) != 1 || len(chains[0]) != 5 {
		t.Errorf("crypto/x509: %v, chains %v; want one of 5 certificates", err, chains)
	}
}
