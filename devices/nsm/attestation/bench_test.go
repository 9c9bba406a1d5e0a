package attestation

import "testing"

// BenchmarkDocument is what an enclave waits for: one signature, with the leaf
// already there.
func BenchmarkDocument(b *testing.B) {
	i := newTestIssuer(b, newTestAuthority(b, Config{}))
	c := Claims{PCRs: productionPCRs(), Nonce: []byte("nonce")}
	newTestDocument(b, i, c)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := i.Document(c); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFirstDocument adds the making of four certificates and four keys.
func BenchmarkFirstDocument(b *testing.B) {
	c := Claims{PCRs: productionPCRs()}
	b.ReportAllocs()
	for b.Loop() {
		newTestDocument(b, newTestIssuer(b, newTestAuthority(b, Config{})), c)
	}
}

// BenchmarkVerify is five ECDSA verifications and little else.
func BenchmarkVerify(b *testing.B) {
	f := newForgery(b)
	raw, opts := f.bytes(), policy(f.root.cert)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Verify(raw, opts); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	raw := newForgery(b).bytes()
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}
