package attestation

import (
	"bytes"
	"crypto"
	"crypto/sha512"
	"crypto/x509"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// restructured makes l again, signed by its issuer, after changes to the
// elements of what is signed and of the certificate. crypto/x509 must still
// read it: what it refuses itself is tested elsewhere.
func (f *forgery) restructured(l *link, signed, whole func(elements [][]byte) [][]byte) *link {
	f.t.Helper()
	same := func(e [][]byte) [][]byte { return e }
	if signed == nil {
		signed = same
	}
	if whole == nil {
		whole = same
	}
	certificate := f.elements(l.cert.Raw)
	tbs := sequence(signed(f.elements(certificate[0])))
	digest := sha512.Sum384(tbs)
	signature, err := l.parent.key.Sign(nil, digest[:], crypto.SHA384)
	if err != nil {
		f.t.Fatal(err)
	}
	var bits cryptobyte.Builder
	bits.AddASN1BitString(signature)
	der := sequence(whole([][]byte{tbs, certificate[1], bits.BytesOrPanic()}))
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		f.t.Fatalf("crypto/x509 refuses it already: %v", err)
	}
	return &link{cert: cert, key: l.key, parent: l.parent}
}

// elements are what a DER sequence consists of.
func (f *forgery) elements(der []byte) [][]byte {
	f.t.Helper()
	in := cryptobyte.String(der)
	var content cryptobyte.String
	if !in.ReadASN1(&content, asn1.SEQUENCE) || !in.Empty() {
		f.t.Fatalf("%x is no sequence", der)
	}
	var out [][]byte
	for !content.Empty() {
		var e cryptobyte.String
		var tag asn1.Tag
		if !content.ReadAnyASN1Element(&e, &tag) {
			f.t.Fatalf("%x is no element", []byte(content))
		}
		out = append(out, bytes.Clone(e))
	}
	return out
}

func sequence(elements [][]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(elements, nil)) })
	return b.BytesOrPanic()
}

// TestRejectStructure: what crypto/x509 reads over, at each place of a chain.
func TestRejectStructure(t *testing.T) {
	null := []byte{5, 0}
	algorithm := append([]byte{0x30, 0x0c}, append(bytes.Clone(algorithmES384[2:]), null...)...)
	date := func(tag byte, text string) func([][]byte) [][]byte {
		return func(e [][]byte) [][]byte {
			from := bytes.Clone(e[4][2 : 2+15]) // 17 0d and 13 characters
			e[4] = sequence([][]byte{from, append([]byte{tag, byte(len(text))}, text...)})
			return e
		}
	}
	flaws := []struct {
		name          string
		signed, whole func([][]byte) [][]byte
		says          string
	}{
		{"element after the signature", nil, func(e [][]byte) [][]byte { return append(e, null) }, "goes on after its signature"},
		{"element after the extensions", func(e [][]byte) [][]byte { return append(e, null) }, nil, "goes on after its extensions"},
		{"algorithm with NULL", func(e [][]byte) [][]byte { e[2] = algorithm; return e }, func(e [][]byte) [][]byte { e[1] = algorithm; return e }, "has parameters in its signature algorithm"},
		{"date without seconds", date(0x17, "4812312359Z"), nil, "has a date that is not in UTC to the second"},
		{"date with an offset", date(0x17, "481231235959+0100"), nil, "has a date that is not in UTC to the second"},
	}
	var cases []rejection
	for _, flaw := range flaws {
		for _, at := range []struct {
			name  string
			place func(*forgery) **link
		}{
			{"regional", func(f *forgery) **link { return &f.regional }},
			{"zonal", func(f *forgery) **link { return &f.zonal }},
			{"instance", func(f *forgery) **link { return &f.instance }},
			{"leaf", func(f *forgery) **link { return &f.leaf }},
		} {
			cases = append(cases, rejection{
				name: "A21 " + flaw.name + ", " + at.name,
				forge: func(f *forgery) {
					l := at.place(f)
					*l = f.restructured(*l, flaw.signed, flaw.whole)
				},
				want: onlyChain, is: ErrChain, says: flaw.says,
			})
		}
	}
	testRejections(t, cases)
}

// TestStructureAccepts: the forms of a date that RFC 5280 has, and nothing
// changed at all.
func TestStructureAccepts(t *testing.T) {
	for _, tt := range []struct{ name, date string }{
		{"as it was", ""},
		{"GeneralizedTime", "20501231235959Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newForgery(t)
			f.instance = f.restructured(f.instance, func(e [][]byte) [][]byte {
				if tt.date != "" {
					e[4] = sequence([][]byte{bytes.Clone(e[4][2 : 2+15]), append([]byte{0x18, byte(len(tt.date))}, tt.date...)})
				}
				return e
			}, nil)
			if _, err := Verify(f.bytes(), policy(f.root.cert)); err != nil {
				t.Error(err)
			}
		})
	}
}
