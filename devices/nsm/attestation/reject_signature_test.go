package attestation

import (
	"bytes"
	"encoding/asn1"
	"math/big"
	"testing"
)

// TestRejectSignature: A3, A20, and algorithms of A19.
func TestRejectSignature(t *testing.T) {
	signature := func(change func([]byte) []byte) func(*forgery) {
		return func(f *forgery) { f.signature = change }
	}
	protected := func(b ...byte) func(*forgery) {
		return func(f *forgery) { f.protected = b }
	}
	only := []string{CheckSignature}
	testRejections(t, []rejection{
		{name: "A3 zero signature", forge: signature(func(s []byte) []byte { return make([]byte, len(s)) }), want: only, is: ErrSignature, says: "does not verify"},
		{name: "A3 signature of ones", forge: signature(func(s []byte) []byte { return bytes.Repeat([]byte{0xff}, len(s)) }), want: only, is: ErrSignature},
		{name: "A3 one bit of the signature", forge: signature(func(s []byte) []byte { s[95] ^= 1; return s }), want: only, is: ErrSignature},
		{
			name: "A3 as QEMU makes it: no signature, no certificate",
			forge: func(f *forgery) {
				signature(func([]byte) []byte { return make([]byte, 64) })(f)
				f.set("certificate", bstr(make([]byte, 64)))
			},
			want: only, is: ErrSignature, says: "signature has 64 bytes",
		},
		{
			name: "A3 no certificate", forge: func(f *forgery) { f.set("certificate", bstr(make([]byte, 64))) },
			want: []string{CheckSignature, CheckChain}, is: ErrChain, says: "no leaf certificate",
		},
		{name: "A3 another key", forge: func(f *forgery) { f.leaf = &link{cert: f.leaf.cert, key: newKey(f.t, p384)} }, want: only, is: ErrSignature},
		{name: "A3 signature over another payload", forge: func(f *forgery) { f.signed = func(b []byte) []byte { b[200] ^= 1; return b } }, want: only, is: ErrSignature},
		{
			name: "A3 signature in another context",
			forge: func(f *forgery) {
				f.signed = func(b []byte) []byte { return bytes.Replace(b, []byte("Signature1"), []byte("CounterSig"), 1) }
			},
			want: only, is: ErrSignature,
		},
		{
			name: "A3 signature over external data", forge: func(f *forgery) {
				f.signed = func(b []byte) []byte {
					return bytes.Replace(b, []byte{0x38, 0x22, 0x40}, []byte{0x38, 0x22, 0x41, 0x00}, 1)
				}
			}, want: only, is: ErrSignature,
		},
		{name: "A3 alg -1", forge: protected(0xa1, 0x01, 0x20), want: only, is: ErrSignature, says: "algorithm -1, want ES384"},
		{name: "A19 ES256", forge: protected(0xa1, 0x01, 0x26), want: only, is: ErrSignature, says: "algorithm -7"},
		{name: "A19 no alg", forge: protected(0xa0), want: only, is: ErrSignature, says: "names no algorithm"},
		{name: "A19 alg none as text", forge: protected(0xa1, 0x01, 0x64, 'n', 'o', 'n', 'e'), want: only, is: ErrSignature, says: "algorithm is not an integer"},
		{name: "A19 alg ES384 as text", forge: protected(append([]byte{0xa1, 0x01}, tstr("ES384")...)...), want: only, is: ErrSignature, says: "algorithm is not an integer"},
		{
			name:  "A20 DER",
			forge: signature(func(s []byte) []byte { return derSignature(t, s) }),
			want:  only, is: ErrSignature, says: "want r and s of 48 each",
		},
		{name: "A20 95 bytes", forge: signature(func(s []byte) []byte { return s[:95] }), want: only, is: ErrSignature, says: "signature has 95 bytes"},
		{name: "A20 97 bytes", forge: signature(func(s []byte) []byte { return append([]byte{0}, s...) }), want: only, is: ErrSignature, says: "signature has 97 bytes"},
		{name: "A20 short s", forge: signature(func(s []byte) []byte { return append(s[:48:48], s[49:]...) }), want: only, is: ErrSignature, says: "signature has 95 bytes"},
		{name: "A20 empty", forge: signature(func([]byte) []byte { return nil }), want: only, is: ErrSignature, says: "signature has 0 bytes"},
		{name: "A20 r of zero", forge: signature(func(s []byte) []byte { return append(make([]byte, 48), s[48:]...) }), want: only, is: ErrSignature},
		{name: "A20 s plus the order", forge: signature(plusOrder), want: only, is: ErrSignature},
	})
}

func derSignature(t testing.TB, s []byte) []byte {
	t.Helper()
	der, err := asn1.Marshal([]*big.Int{new(big.Int).SetBytes(s[:48]), new(big.Int).SetBytes(s[48:])})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// plusOrder is s congruent to the right one, but out of range; it fits into 48
// bytes for hardly any s, and then it is cut off.
func plusOrder(signature []byte) []byte {
	s := new(big.Int).Add(new(big.Int).SetBytes(signature[48:]), p384.Params().N)
	b := s.Bytes()
	return append(bytes.Clone(signature[:48]), b[len(b)-48:]...)
}
