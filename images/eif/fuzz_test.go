package eif_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"testing"

	"github.com/nitrolab/nitrolab/images/eif"
)

// FuzzOpen reads anything as an image: no panic, and what opens keeps the
// invariants the rest relies on.
func FuzzOpen(f *testing.F) {
	signer, _ := fixedSigner(f)
	signed, _ := build(f, spec(signer))
	f.Add(golden(f))
	f.Add(signed)
	f.Add(rawImage(2, 1, secKernel, secCmdline))
	f.Add(rawImage(4, 0, sections(32)...))
	f.Add(rawImage(4, 0, secCmdline, secKernel, secRamdisk, secMetadata, rawSection{signature, 0, "\x81\xa0"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := eif.OpenPrefix(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			var format *eif.FormatError
			if !errors.As(err, &format) {
				t.Fatalf("error %v is no FormatError", err)
			}
			return
		}
		if im.Size() > int64(len(b)) {
			t.Fatalf("size %d of %d bytes", im.Size(), len(b))
		}
		_, strict := eif.Open(bytes.NewReader(b), int64(len(b)))
		if (strict == nil) != (im.Size() == int64(len(b))) {
			t.Fatalf("Open and OpenPrefix disagree: %v", strict)
		}
		var sum int64
		for _, s := range im.Sections() {
			sum += 12 + s.Size
		}
		if sum+548 != im.Size() {
			t.Fatalf("sections have %d bytes, image %d", sum, im.Size())
		}
		n, err := io.Copy(io.Discard, im.Initramfs())
		if err != nil || n != im.InitramfsSize() {
			t.Fatalf("initramfs %d of %d bytes, %v", n, im.InitramfsSize(), err)
		}
		if im.Kernel() == nil {
			t.Fatal("no kernel")
		}
		if _, err := im.Cmdline(); err != nil && len(b) < eif.MaxCmdline {
			t.Fatal(err)
		}
		if _, err := im.Warnings(); err != nil {
			t.Fatal(err)
		}
		m1, err1 := im.Measure()
		m2, err2 := im.Verify()
		if err1 == nil && err2 == nil && m1 != m2 {
			t.Fatal("Measure and Verify disagree")
		}
		if d, err := im.Describe(inside); err == nil {
			if d.Measurements != m1 || d.CheckCRC != (err2 == nil) {
				t.Fatal("Describe disagrees")
			}
			indent(t, d)
		}
	})
}

// fixedSigner is the same in every process, as the workers of a fuzzer need it.
func fixedSigner(t testing.TB) (*eif.Signer, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), sum256([]byte("nitrolab fuzz key")))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: notBefore, NotAfter: notAfter}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), noRandom{key})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	s, err := eif.NewKeySigner(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key)
	if err != nil {
		t.Fatal(err)
	}
	return s, cert
}

// noRandom signs deterministically.
type noRandom struct{ *ecdsa.PrivateKey }

func (n noRandom) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return n.PrivateKey.Sign(nil, digest, opts)
}

// FuzzSignature reads anything as a signature section. What it accepts as
// signed can only be signed by the seed's own key. The rest of the certificate
// may differ: nothing checks who issued it, but then PCR8 differs too.
func FuzzSignature(f *testing.F) {
	signer, cert := fixedSigner(f)
	b, m0 := build(f, spec(signer))
	last := open(f, b).Sections()[5]
	f.Add(b[last.Offset+12:])
	f.Add([]byte(forged(f, []int{1}, []int{2})))
	f.Add([]byte("\x80"))
	f.Add([]byte("\x81\xa0"))
	f.Fuzz(func(t *testing.T, data []byte) {
		raw := rawImage(4, 0, secKernel, secCmdline, secMetadata, rawSection{ramdisk, 0, "R0"}, rawSection{ramdisk, 0, "R1!"}, rawSection{signature, 0, string(data)})
		im, err := eif.Open(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			if len(data) <= eif.MaxSignature {
				t.Fatal(err)
			}
			return
		}
		if im.CheckSignature(m0, inside) == nil {
			sig, err := im.Signature()
			if err != nil || !cert.PublicKey.(*ecdsa.PublicKey).Equal(sig.Certificate.PublicKey) {
				t.Fatal("forged signature accepted")
			}
		}
	})
}

// FuzzMetadata reads anything as metadata and prints what it read.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte("{}"))
	f.Add([]byte(`{"ImageName":"n","ImageVersion":"v","BuildMetadata":{"BuildTime":"t"},"DockerInfo":[1],"CustomMetadata":{"BuildTime":1,"a":"\u2028"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		raw := rawImage(4, 0, secKernel, secCmdline, rawSection{metadata, 0, string(data)})
		d, err := open(t, raw).Describe(inside)
		if err == nil {
			indent(t, d)
		}
	})
}
