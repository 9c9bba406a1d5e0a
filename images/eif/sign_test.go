package eif_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/images/eif"
)

var (
	notBefore = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	notAfter  = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	inside    = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
)

// identity makes a self-signed certificate and its key, both as PEM.
func identity(t testing.TB, curve elliptic.Curve) (certPEM, keyPEM []byte, cert *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7),
		Subject:      pkix.Name{Country: []string{"DE"}, Organization: []string{"nitrolab"}, CommonName: "signer"},
		NotBefore:    notBefore,
		NotAfter:     notAfter,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}), cert
}

func newSigner(t testing.TB, curve elliptic.Curve) (*eif.Signer, *x509.Certificate) {
	t.Helper()
	certPEM, keyPEM, cert := identity(t, curve)
	s, err := eif.NewSigner(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return s, cert
}

func spec(s *eif.Signer) eif.Spec {
	return eif.Spec{
		Kernel:   section("KERN"),
		Cmdline:  "quiet",
		Ramdisks: []*io.SectionReader{section("R0"), section("R1!")},
		Metadata: eif.Metadata{ImageName: "app", ImageVersion: "1.0"},
		Signer:   s,
	}
}

func build(t testing.TB, spec eif.Spec) ([]byte, eif.Measurements) {
	t.Helper()
	var w seekBuffer
	m, err := eif.Build(&w, spec)
	if err != nil {
		t.Fatal(err)
	}
	return w.b, m
}

// seekBuffer is an io.WriteSeeker in memory.
type seekBuffer struct {
	b   []byte
	off int
}

func (s *seekBuffer) Write(p []byte) (int, error) {
	if grow := s.off + len(p) - len(s.b); grow > 0 {
		s.b = append(s.b, make([]byte, grow)...)
	}
	s.off += copy(s.b[s.off:], p)
	return len(p), nil
}

func (s *seekBuffer) Seek(off int64, whence int) (int64, error) {
	if whence != io.SeekStart {
		return 0, errors.New("whence")
	}
	s.off = int(off)
	return off, nil
}

// TestSignFormat takes a signature section apart by hand: CBOR arrays of
// integers, untagged COSE_Sign1, ECDSA over the Sig_structure of RFC 9052.
func TestSignFormat(t *testing.T) {
	tests := []struct {
		curve elliptic.Curve
		prot  string // CBOR {1: alg}
		size  int    // of the signature
	}{
		{elliptic.P256(), "a10126", 64},
		{elliptic.P384(), "a1013822", 96},
		{elliptic.P521(), "a1013823", 132},
	}
	for _, tt := range tests {
		t.Run(tt.curve.Params().Name, func(t *testing.T) {
			s, cert := newSigner(t, tt.curve)
			b, got := build(t, spec(s))
			im := open(t, b)
			last := im.Sections()[len(im.Sections())-1]
			if last.Type != eif.SectionSignature {
				t.Fatalf("last section is %v", last.Type)
			}
			raw := b[last.Offset+12:]
			// [ { "signing_certificate": [...
			if want := "81a2" + "73" + hex.EncodeToString([]byte("signing_certificate")); !strings.HasPrefix(hex.EncodeToString(raw), want) {
				t.Errorf("section begins % x", raw[:24])
			}
			var list []map[string][]int
			if err := cbor.Unmarshal(raw, &list); err != nil {
				t.Fatalf("not an array of maps of arrays of integers: %v", err)
			}
			if len(list) != 1 || len(list[0]) != 2 {
				t.Fatalf("list %d", len(list))
			}
			block, _ := pem.Decode(toBytes(list[0]["signing_certificate"]))
			if block == nil || !bytes.Equal(block.Bytes, cert.Raw) {
				t.Error("certificate is not the signer's PEM")
			}
			var msg []any
			if err := cbor.Unmarshal(toBytes(list[0]["signature"]), &msg); err != nil {
				t.Fatalf("not an untagged array: %v", err)
			}
			payload := "a26e" + hex.EncodeToString([]byte("register_index")) + "00" +
				"6e" + hex.EncodeToString([]byte("register_value")) + "9830"
			for _, v := range got.PCR0 {
				if v < 24 {
					payload += hex.EncodeToString([]byte{v})
				} else {
					payload += hex.EncodeToString([]byte{0x18, v})
				}
			}
			sig := msg[3].([]byte)
			want := []any{mustHex(tt.prot), map[any]any{}, mustHex(payload), sig}
			if diff := cmp.Diff(want, msg); diff != "" {
				t.Errorf("COSE_Sign1 (-want +got):\n%s", diff)
			}
			if len(sig) != tt.size {
				t.Fatalf("signature has %d bytes, want %d", len(sig), tt.size)
			}
			toBeSigned, err := cbor.Marshal([]any{"Signature1", mustHex(tt.prot), []byte{}, mustHex(payload)})
			if err != nil {
				t.Fatal(err)
			}
			r, sv := new(big.Int).SetBytes(sig[:tt.size/2]), new(big.Int).SetBytes(sig[tt.size/2:])
			if !ecdsa.Verify(cert.PublicKey.(*ecdsa.PublicKey), digest(tt.curve, toBeSigned), r, sv) {
				t.Error("signature does not verify")
			}
			if got.PCR8 != m(string(cert.Raw)) || !got.Signed {
				t.Errorf("PCR8 %s, want %s", got.PCR8, m(string(cert.Raw)))
			}
			read, err := im.Verify()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, read); diff != "" {
				t.Errorf("built and read measurements differ:\n%s", diff)
			}
			if err := im.CheckSignature(read, inside); err != nil {
				t.Error(err)
			}
		})
	}
}

func toBytes(v []int) []byte {
	b := make([]byte, len(v))
	for i := range v {
		b[i] = byte(v[i])
	}
	return b
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func digest(curve elliptic.Curve, b []byte) []byte {
	switch curve {
	case elliptic.P384():
		d := sha512.Sum384(b)
		return d[:]
	case elliptic.P521():
		d := sha512.Sum512(b)
		return d[:]
	}
	return sum256(b)
}

func TestSigningChangesNoOtherPCR(t *testing.T) {
	s, _ := newSigner(t, elliptic.P384())
	_, signed := build(t, spec(s))
	_, plain := build(t, spec(nil))
	signed.PCR8, signed.Signed = eif.Digest{}, false
	if diff := cmp.Diff(plain, signed); diff != "" {
		t.Error(diff)
	}
}

func TestNewSigner(t *testing.T) {
	certPEM, keyPEM, _ := identity(t, elliptic.P384())
	otherCert, _, _ := identity(t, elliptic.P384())
	p224Cert, p224Key, _ := identity(t, elliptic.P224())
	block, _ := pem.Decode(keyPEM)
	ec, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed8, err := x509.MarshalPKCS8PrivateKey(edKey)
	if err != nil {
		t.Fatal(err)
	}
	block8 := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	params := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 5, 43, 129, 4, 0, 34}})
	tests := []struct {
		name      string
		cert, key []byte
		want      string // "" for good
	}{
		{"SEC 1", certPEM, keyPEM, ""},
		{"PKCS 8", certPEM, block8, ""},
		{"behind parameters, as openssl ecparam writes", certPEM, append(params, keyPEM...), ""},
		{"one file for both", append(append([]byte(nil), keyPEM...), certPEM...), append(append([]byte(nil), certPEM...), keyPEM...), ""},
		{"key of another certificate", otherCert, keyPEM, "does not belong"},
		{"curve P-224", p224Cert, p224Key, "curve is P-224"},
		{"Ed25519 key", certPEM, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: ed8}), "does not belong"},
		{"encrypted", certPEM, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY"}), "encrypted"},
		{"no key", certPEM, certPEM, "no PEM private key"},
		{"no certificate", keyPEM, keyPEM, "no PEM certificate"},
		{"empty", nil, nil, "no PEM private key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := eif.NewSigner(tt.cert, tt.key)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want one with %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			b, _ := build(t, spec(s))
			if bytes.Contains(b, []byte("PRIVATE")) || bytes.Contains(b, []byte{0x18, 'P', 0x18, 'R', 0x18, 'I', 0x18, 'V'}) {
				t.Error("private key in the image")
			}
		})
	}
}

// TestSignExisting signs, signs again with another key, and compares with what
// a build with that key gives.
func TestSignExisting(t *testing.T) {
	first, _ := newSigner(t, elliptic.P256())
	second, cert := newSigner(t, elliptic.P521())
	want, wantM := build(t, spec(second))
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "a.eif"), filepath.Join(dir, "b.eif")
	if _, err := eif.BuildFile(src, spec(nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := eif.SignFile(dst, src, first); err != nil {
		t.Fatal(err)
	}
	got, err := eif.SignFile(dst, dst, second)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantM, got); diff != "" {
		t.Errorf("measurements (-want +got):\n%s", diff)
	}
	b, err := os.ReadFile(dst)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Error("signing an image and building it signed differ")
	}
	sig, err := open(t, b).Signature()
	if err != nil {
		t.Fatal(err)
	}
	if !sig.Certificate.Equal(cert) {
		t.Error("certificate of the first signer is still there")
	}
}

// TestSignKeepsSections signs images whose sections no builder of ours writes.
func TestSignKeepsSections(t *testing.T) {
	s, _ := newSigner(t, elliptic.P384())
	b := rawImage(3, 0xff01, rawSection{cmdline, 3, "c"}, rawSection{signature, 1, "junk, to be dropped"}, rawSection{kernel, 9, "K"}, rawSection{ramdisk, 0, "0"})
	im := open(t, b)
	if _, err := im.Measure(); err == nil {
		t.Fatal("junk signature accepted")
	}
	// The old signature is unreadable, so the image cannot be verified.
	var w seekBuffer
	if _, err := eif.Sign(&w, im, s); err == nil {
		t.Error("signed an image that does not verify")
	}
	b = rawImage(3, 0xff01, rawSection{cmdline, 3, "c"}, rawSection{kernel, 9, "K"}, rawSection{ramdisk, 0, "0"})
	if _, err := eif.Sign(&w, open(t, b), s); err != nil {
		t.Fatal(err)
	}
	got := open(t, w.b)
	h := got.Header()
	if h.Version != 3 || h.Flags != 0xff01 {
		t.Errorf("header %+v", h)
	}
	want := []eif.Section{
		{Type: eif.SectionCmdline, Flags: 3, Offset: 548, Size: 1},
		{Type: eif.SectionKernel, Flags: 9, Offset: 561, Size: 1},
		{Type: eif.SectionRamdisk, Offset: 574, Size: 1},
	}
	if diff := cmp.Diff(want, got.Sections()[:3]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := got.Verify(); err != nil {
		t.Error(err)
	}
}

func TestSignRefuses(t *testing.T) {
	s, _ := newSigner(t, elliptic.P384())
	damaged := golden(t)
	damaged[560] ^= 1
	var w seekBuffer
	var format *eif.FormatError
	if _, err := eif.Sign(&w, open(t, damaged), s); !errors.As(err, &format) || format.Field != "eif_crc32" {
		t.Errorf("damaged image: error %v", err)
	}
	if _, err := eif.Sign(&w, open(t, rawImage(4, 0, sections(32)...)), s); err == nil || !strings.Contains(err.Error(), "32 sections") {
		t.Errorf("full image: error %v", err)
	}
	if len(w.b) != 0 {
		t.Error("something was written")
	}
}
