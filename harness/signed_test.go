package harness_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/harness"
	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/eif"
)

// signingTime is when certificates of newSigner are in their middle: five years
// from now, so that only a Host with its clock there can use them.
var signingTime = time.Now().AddDate(5, 0, 0).Truncate(time.Second)

// newSigner makes a key and a certificate for it that is valid for an hour before
// and after signingTime.
func newSigner(t *testing.T) *eif.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "harness test", Organization: []string{"nitrolab"}},
		NotBefore:    signingTime.Add(-time.Hour),
		NotAfter:     signingTime.Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := eif.NewKeySigner(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// A signature that does not count keeps the image from starting.
func TestBadSignatures(t *testing.T) {
	path, _ := writeEIF(t, func() eif.Spec {
		spec := fakeSpec(t, acpiKernel)
		spec.Signer = newSigner(t)
		return spec
	}())
	signed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		clock time.Time
		raw   func([]byte) []byte
		want  error // nil: it gets as far as QEMU
	}{
		{"good", signingTime, nil, nil},
		{"expired", signingTime.Add(time.Hour + time.Second), nil, eif.ErrCertificateExpired},
		{"not yet valid", signingTime.Add(-time.Hour - time.Second), nil, eif.ErrCertificateNotYetValid},
		// The section is the last one, and the last byte the last of the signature.
		{"wrong signature", signingTime, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, eif.ErrBadSignature},
		{"of another image", signingTime, func(b []byte) []byte {
			other := fakeSpec(t, cmdlineKernel)
			path, _ := writeEIF(t, other)
			unsigned, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return graft(unsigned, b)
		}, eif.ErrSignedOther},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake, started := fakeQEMU(t)
			host := harness.New(t, fake, harness.Clock(func() time.Time { return tt.clock }))
			b := append([]byte{}, signed...)
			if tt.raw != nil {
				b = tt.raw(b)
				fixCRC(b)
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := host.TryEnclave(t, path)
			switch n := count(t, started); {
			case tt.want == nil && n != 1:
				t.Errorf("QEMU was not started: %v", err)
			case tt.want != nil && n != 0:
				t.Error("QEMU was started")
			case tt.want != nil && !errors.Is(err, tt.want):
				t.Errorf("refused with %v, want %v", err, tt.want)
			}
		})
	}
}

// A signed image shows its certificate in PCR8, where a verifier can pin it, and
// in production mode only.
func TestSignedImageAttests(t *testing.T) {
	vm(t, 1)
	clock := harness.Clock(func() time.Time { return signingTime })
	host := harness.New(t, clock)
	signer := newSigner(t)
	image := harness.SampleEIF(t, func(s *bundle.Spec) { s.Signer = signer })
	enclave := host.RunEnclave(t, image)

	nonce := []byte("signed")
	policy := enclave.Policy(nonce)
	var want eif.Measurements
	f, err := eif.OpenFile(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if want, err = f.Verify(); err != nil {
		t.Fatal(err)
	}
	if got := eif.Digest(policy.PCRs[8]); !want.Signed || got != want.PCR8 {
		t.Fatalf("policy has PCR8 %s, the image %s", got, want.PCR8)
	}
	raw := enclave.Ask(t, nonce)
	host.MustVerify(t, raw, policy)

	// A verifier that pins another certificate refuses it.
	policy.PCRs[8] = make([]byte, 48)
	if _, err := host.Verify(raw, policy); !errors.Is(err, attestation.ErrPCR) {
		t.Errorf("with PCR8 of an unsigned image: %v, want a mismatch", err)
	}
}
