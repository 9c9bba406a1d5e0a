package eif_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/nitrolab/nitrolab/images/eif"
)

func TestCheckSignature(t *testing.T) {
	s, cert := newSigner(t, elliptic.P384())
	b, m0 := build(t, spec(s))
	im := open(t, b)
	otherSpec := spec(nil)
	otherSpec.Cmdline = "debug"
	unsigned, other := build(t, otherSpec)

	// The signature section of im on the other image: a stolen signature.
	last := im.Sections()[len(im.Sections())-1]
	stolen := string(b[last.Offset+12:])
	moved := open(t, rawImage(4, 0, secKernel, rawSection{cmdline, 0, "debug"}, secMetadata, rawSection{ramdisk, 0, "R0"}, rawSection{ramdisk, 0, "R1!"}, rawSection{signature, 0, stolen}))

	tests := []struct {
		name string
		im   *eif.Image
		m    eif.Measurements
		at   time.Time
		want error
	}{
		{"good", im, m0, inside, nil},
		{"first second", im, m0, notBefore, nil},
		{"last second", im, m0, notAfter, nil},
		{"expired", im, m0, notAfter.Add(time.Second), eif.ErrCertificateExpired},
		{"not yet valid", im, m0, notBefore.Add(-time.Second), eif.ErrCertificateNotYetValid},
		{"wrong PCR0", im, other, inside, eif.ErrSignedOther},
		{"moved to another image", moved, other, inside, eif.ErrSignedOther},
		{"unsigned", open(t, unsigned), other, inside, eif.ErrNotSigned},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.im.CheckSignature(tt.m, tt.at); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
	if got, err := moved.Measure(); err != nil || got.PCR8 != m(string(cert.Raw)) {
		t.Errorf("PCR8 of the moved signature: %v, %v", got.PCR8, err)
	}
}

// intsOf is a CBOR array of integers.
func intsOf(b []byte) []int {
	v := make([]int, len(b))
	for i := range b {
		v[i] = int(b[i])
	}
	return v
}

func mustCBOR(t testing.TB, v any) []byte {
	t.Helper()
	b, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// forged makes a signature section with fields of the test's choice.
func forged(t testing.TB, cert, sig any) string {
	return string(mustCBOR(t, []any{map[string]any{"signing_certificate": cert, "signature": sig}}))
}

// TestForgedSignatures has sections that decode and must not check.
func TestForgedSignatures(t *testing.T) {
	certPEM, keyPEM, _ := identity(t, elliptic.P384())
	s, err := eif.NewSigner(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	b, m0 := build(t, spec(s))
	sig, err := open(t, b).Signature()
	if err != nil {
		t.Fatal(err)
	}
	var msg []any
	if err := cbor.Unmarshal(sig.COSE, &msg); err != nil {
		t.Fatal(err)
	}
	with := func(i int, v any) []byte {
		c := append([]any(nil), msg...)
		c[i] = v
		return mustCBOR(t, c)
	}
	flipped := append([]byte(nil), msg[3].([]byte)...)
	flipped[5] ^= 1
	otherCert, _, _ := identity(t, elliptic.P384())
	p256Cert, _, _ := identity(t, elliptic.P256())

	tests := []struct {
		name string
		cert []byte
		cose []byte
	}{
		{"signature bit flipped", certPEM, with(3, flipped)},
		{"signature short", certPEM, with(3, flipped[:95])},
		{"signature empty", certPEM, with(3, []byte{})},
		{"other certificate", otherCert, sig.COSE},
		{"certificate of another curve", p256Cert, sig.COSE},
		{"algorithm ES256 in header", certPEM, with(0, mustHex("a10126"))},
		{"no algorithm in header", certPEM, with(0, []byte{})},
		{"algorithm moved to the unprotected header", certPEM, func() []byte {
			c := append([]any(nil), msg...)
			c[0], c[1] = []byte{}, map[int]int{1: -35}
			return mustCBOR(t, c)
		}()},
		{"payload of another PCR0", certPEM, with(2, append(append([]byte(nil), msg[2].([]byte)[:100]...), 0))},
		{"payload detached", certPEM, with(2, nil)},
		{"tagged", certPEM, append([]byte{0xd2}, sig.COSE...)},
		{"bytes behind the message", certPEM, append(append([]byte(nil), sig.COSE...), 0)},
		{"not CBOR", certPEM, []byte("hello")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			im := open(t, rawImage(4, 0, secKernel, secCmdline, secMetadata, rawSection{ramdisk, 0, "R0"}, rawSection{ramdisk, 0, "R1!"},
				rawSection{signature, 0, forged(t, intsOf(tt.cert), intsOf(tt.cose))}))
			got, err := im.Verify()
			if err != nil {
				t.Fatal(err)
			}
			if got.PCR0 != m0.PCR0 {
				t.Fatal("test image differs")
			}
			if err := im.CheckSignature(got, inside); !errors.Is(err, eif.ErrBadSignature) {
				t.Errorf("error %v, want %v", err, eif.ErrBadSignature)
			}
		})
	}
}

// TestSignedPayload has good signatures over payloads that are not exactly
// {register_index: 0, register_value: PCR0 as integers}. A reader that takes the
// payload apart instead of comparing it would accept some.
func TestSignedPayload(t *testing.T) {
	certPEM, keyPEM, _ := identity(t, elliptic.P384())
	block, _ := pem.Decode(keyPEM)
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	_, m0 := build(t, spec(nil))
	type info struct {
		Index any `cbor:"register_index"`
		Value any `cbor:"register_value"`
	}
	pcr0 := intsOf(m0.PCR0[:])
	tests := []struct {
		name    string
		payload []byte
		good    bool
	}{
		{"exact", mustCBOR(t, info{0, pcr0}), true},
		{"register 1", mustCBOR(t, info{1, pcr0}), false},
		{"byte string", mustCBOR(t, info{0, m0.PCR0[:]}), false},
		{"short", mustCBOR(t, info{0, pcr0[:47]}), false},
		{"integers mod 256", mustCBOR(t, info{0, append([]int{pcr0[0] + 256}, pcr0[1:]...)}), false},
		{"further key", mustCBOR(t, map[string]any{"register_index": 0, "register_value": pcr0, "x": 1}), false},
		{"bytes behind", append(mustCBOR(t, info{0, pcr0}), 0), false},
		{"empty", []byte{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			prot := mustHex("a1013822")
			sum := digest(elliptic.P384(), mustCBOR(t, []any{"Signature1", prot, []byte{}, tt.payload}))
			r, s, err := ecdsa.Sign(rand.Reader, key, sum)
			if err != nil {
				t.Fatal(err)
			}
			raw := append(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48))...)
			msg := mustCBOR(t, []any{prot, map[int]int{}, tt.payload, raw})
			im := open(t, rawImage(4, 0, secKernel, secCmdline, secMetadata, rawSection{ramdisk, 0, "R0"}, rawSection{ramdisk, 0, "R1!"},
				rawSection{signature, 0, forged(t, intsOf(certPEM), intsOf(msg))}))
			err = im.CheckSignature(m0, inside)
			if tt.good && err != nil {
				t.Error(err)
			}
			if !tt.good && !errors.Is(err, eif.ErrSignedOther) {
				t.Errorf("error %v, want %v", err, eif.ErrSignedOther)
			}
		})
	}
}

func TestSignatureMalformed(t *testing.T) {
	certPEM, _, _ := identity(t, elliptic.P384())
	cert, some := intsOf(certPEM), []int{1}
	tests := []struct{ name, data, want string }{
		{"empty", "", "EOF"},
		{"not CBOR", "\xff", "unexpected"},
		{"a map", "\xa0", "cannot unmarshal"},
		{"empty array", "\x80", "empty array"},
		{"empty map", "\x81\xa0", "no signing_certificate"},
		{"no signature", string(mustCBOR(t, []any{map[string]any{"signing_certificate": cert}})), "no signature"},
		{"certificate as byte string", forged(t, certPEM, some), "not a CBOR array of integers"},
		{"certificate as text", forged(t, string(certPEM), some), "not a CBOR array of integers"},
		{"integer 256", forged(t, append([]int{256}, cert...), some), "element 0 is 256"},
		{"negative integer", forged(t, append([]int{-1}, cert...), some), "cannot unmarshal"},
		{"nested array", forged(t, []any{cert}, some), "cannot unmarshal"},
		{"no PEM", forged(t, intsOf([]byte("hello")), some), "no PEM certificate"},
		{"PEM of a key", forged(t, intsOf(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY"})), some), "no PEM certificate"},
		{"PEM of rubbish", forged(t, intsOf(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), some), "certificate: x509"},
		{"second element malformed", string(mustCBOR(t, []any{map[string]any{"signing_certificate": cert, "signature": some}, 7})), "cannot unmarshal"},
		{"bytes behind", forged(t, cert, some) + "\x00", "extraneous data"},
		{"deeply nested", strings.Repeat("\x81", 20000), "max nested level"},
		{"huge array", "\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", "exceeded max"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			im := open(t, rawImage(4, 0, secKernel, secCmdline, secMetadata, rawSection{signature, 0, tt.data}))
			for what, f := range map[string]func() error{
				"Signature": func() error { _, err := im.Signature(); return err },
				"Measure":   func() error { _, err := im.Measure(); return err },
				"Describe":  func() error { _, err := im.Describe(inside); return err },
			} {
				var format *eif.FormatError
				if err := f(); !errors.As(err, &format) || !strings.Contains(format.Found, tt.want) {
					t.Errorf("%s: error %v, want a FormatError with %q", what, err, tt.want)
				}
			}
		})
	}
}
