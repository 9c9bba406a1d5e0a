package attestation

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRejectFormat: A8, A19 and A22, everything that Parse alone finds.
func TestRejectFormat(t *testing.T) {
	set := func(key string, value ...byte) func(*forgery) {
		return func(f *forgery) { f.set(key, value) }
	}
	field := func(key string, value []byte) func(*forgery) { return set(key, value...) }
	protected := func(b ...byte) func(*forgery) {
		return func(f *forgery) { f.protected = b }
	}
	unprotected := func(b ...byte) func(*forgery) {
		return func(f *forgery) { f.unprotected = b }
	}
	payload := func(change func([]byte) []byte) func(*forgery) {
		return func(f *forgery) { f.payload = change }
	}
	pcrs := func(head []byte, pairs ...[]byte) func(*forgery) {
		return field("pcrs", append(head, bytes.Join(pairs, nil)...))
	}
	p := bstr(pcr("x"))
	pair := func(key ...byte) []byte { return append(key, p...) }

	cases := []rejection{
		{name: "A19 tag 17", forge: func(f *forgery) { f.prefix = []byte{0xd1} }, says: "begins with d1: a tag"},
		{name: "A19 tag 18 twice", forge: func(f *forgery) { f.prefix = []byte{0xd2, 0xd2} }, says: "begins with d2: a tag"},
		{name: "A19 CBOR tag and tag 18", forge: func(f *forgery) { f.prefix = []byte{0xd9, 0xd9, 0xf7, 0xd2} }, says: "begins with d9"},
		{name: "A19 trailing byte", forge: func(f *forgery) { f.suffix = []byte{0} }, says: "1 bytes after the document"},
		{name: "A19 second document after it", forge: func(f *forgery) { g := newForgery(f.t); f.suffix = g.bytes() }, says: "bytes after the document"},
		{name: "A19 unprotected alg", forge: unprotected(0xa1, 0x01, 0x38, 0x22), says: "unprotected header is not an empty map"},
		{name: "A19 alg in unprotected alone", forge: func(f *forgery) { f.protected, f.unprotected = []byte{0xa0}, []byte{0xa1, 0x01, 0x38, 0x22} }, says: "unprotected"},
		{name: "A19 unprotected of indefinite length", forge: unprotected(0xbf, 0xff), says: "unprotected header"},
		{name: "A19 unprotected null", forge: unprotected(0xf6), says: "unprotected header"},
		{name: "A19 empty crit", forge: protected(0xa2, 0x01, 0x38, 0x22, 0x02, 0x80), says: "has critical headers"},
		{name: "A19 unknown crit", forge: protected(0xa2, 0x01, 0x38, 0x22, 0x02, 0x81, 0x18, 0x63), says: "has critical headers"},
		{name: "A19 unknown header", forge: protected(0xa2, 0x01, 0x38, 0x22, 0x04, 0x41, 0x31), says: "has an unknown header 4"},
		{name: "A19 header with a text label", forge: protected(0xa2, 0x01, 0x38, 0x22, 0x61, 'x', 0x00), says: "not a small integer"},
		{name: "A19 alg twice", forge: protected(0xa2, 0x01, 0x38, 0x22, 0x01, 0x38, 0x22), says: "names its algorithm twice"},
		{name: "A19 protected of indefinite length", forge: protected(0xbf, 0x01, 0x38, 0x22, 0xff), says: "indefinite length"},
		{name: "A19 protected not in shortest form", forge: protected(0xa1, 0x01, 0x39, 0x00, 0x22), says: "shortest form"},
		{name: "A19 protected with a tail", forge: protected(0xa1, 0x01, 0x38, 0x22, 0x00), says: "after its map"},
		{name: "A19 protected empty", forge: protected(), says: "protected header is empty"},
		{name: "A19 protected an array", forge: protected(0x80), says: "protected header is an array"},

		{name: "A19 payload empty", forge: payload(func([]byte) []byte { return nil }), says: "payload has 0 bytes"},
		{name: "A19 payload too long", forge: set("nonce", bstr(make([]byte, 14<<10))...), says: "1 to 16384 are allowed"},
		{name: "A19 payload an array", forge: payload(func([]byte) []byte { return []byte{0x80} }), says: "payload is an array"},
		{name: "A19 payload with a tail", forge: payload(func(b []byte) []byte { return append(b, 0) }), says: "payload has 1 bytes after its map"},
		{name: "A19 payload cut off", forge: payload(func(b []byte) []byte { return b[:len(b)-1] }), says: "value 8: unexpected EOF"},
		{name: "A19 map without its last value", forge: func(f *forgery) { f.fields[8].value = []byte{} }, says: "value 8: EOF"},
		{name: "A19 indefinite map without an end", forge: func(f *forgery) { f.head = []byte{0xbf} }, says: "has more than 9 entries"},
		{name: "A19 odd indefinite map", forge: func(f *forgery) { f.drop("nonce"); f.head, f.tail = []byte{0xbf}, append(tstr("nonce"), 0xff) }, says: "value 8"},
		{name: "A19 ten entries", forge: func(f *forgery) { f.add("more", []byte{0xf6}) }, says: "has 10 entries, at most 9"},
		{name: "A19 unknown key", forge: func(f *forgery) { f.fields[8].key = tstr("nonsense") }, says: `unknown key "nonsense"`},
		{name: "A19 key in capitals", forge: func(f *forgery) { f.fields[8].key = tstr("Nonce") }, says: `unknown key "Nonce"`},
		{name: "A19 key with an escape", forge: func(f *forgery) { f.fields[8].key = tstr("\x1b[2J") }, says: `unknown key "\x1b[2J"`},
		{name: "A19 key not UTF-8", forge: func(f *forgery) { f.fields[8].key = []byte{0x61, 0xff} }, says: "UTF-8"},
		{name: "A19 key of indefinite length", forge: func(f *forgery) { f.fields[8].key = append(append([]byte{0x7f}, tstr("nonce")...), 0xff) }, says: "key 8"},
		{name: "A19 key a number", forge: func(f *forgery) { f.fields[8].key = []byte{0x01} }, says: "a key is an unsigned integer"},
		{name: "A19 key twice", forge: func(f *forgery) { f.fields[8].key = tstr("user_data") }, says: `key "user_data" is there twice`},
		{name: "A19 inner map of indefinite length", forge: pcrs([]byte{0xbf}, pair(0), []byte{0xff}), says: "indefinite"},
		{name: "A19 inner array of indefinite length", forge: set("cabundle", 0x9f, 0xff), says: "indefinite"},
		{name: "A19 inner string of indefinite length", forge: set("nonce", 0x5f, 0x41, 0x00, 0xff), says: "indefinite"},
		{name: "A19 deep nesting", forge: set("nonce", append(bytes.Repeat([]byte{0x81}, 5000), 0)...), says: "nested"},
		{name: "A19 deep nesting of maps", forge: set("pcrs", append(bytes.Repeat([]byte{0xa1, 0x00}, 5000), 0)...), says: "nested"},
		{name: "A19 deep nesting of tags", forge: set("nonce", append(bytes.Repeat([]byte{0xc1}, 5000), 0)...), says: "tag"},
		{name: "A19 huge byte string", forge: set("nonce", 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), says: "value 8"},
		{name: "A19 huge array", forge: set("cabundle", 0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), says: "value 5"},
		{name: "A19 huge map", forge: func(f *forgery) { f.head = []byte{0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }, says: "entries in"},
		{name: "A19 reserved head of a map", forge: func(f *forgery) { f.head = []byte{0xbc} }, says: "reserved head bc"},
		{name: "A19 head of a map cut off", forge: payload(func([]byte) []byte { return []byte{0xba, 0, 0} }), says: "ends inside the length of a map"},
		{name: "A19 tagged nonce", forge: set("nonce", 0xd8, 0x40, 0x41, 0x00), says: "tag"},
		{name: "A19 nonce undefined", forge: set("nonce", 0xf7), says: "nonce is a simple value"},
		{name: "A19 nonce text", forge: field("nonce", tstr("nonce")), says: "nonce is a text string, not a byte string"},
		{name: "A19 nonce array of numbers", forge: set("nonce", 0x82, 1, 2), says: "nonce is an array, not a byte string"},
		{name: "A19 public key text", forge: field("public_key", tstr("key")), says: "public_key is a text string"},
		{name: "A19 user data number", forge: set("user_data", 0x05), says: "user_data is an unsigned integer"},

		{name: "A8 PCR0 twice", forge: pcrs([]byte{0xa2}, pair(0), pair(0)), says: "has PCR0 twice"},
		{name: "A8 PCR0 twice, once in a longer form", forge: pcrs([]byte{0xa2}, pair(0), pair(0x18, 0)), says: "has PCR0 twice"},
		{name: "A8 PCR32", forge: pcrs([]byte{0xa1}, pair(0x18, 32)), says: "has PCR32, the last is PCR31"},
		{name: "A8 PCR of 64 bits", forge: pcrs([]byte{0xa1}, pair(0x1b, 1, 0, 0, 0, 0, 0, 0, 0)), says: "the last is PCR31"},
		{name: "A8 negative PCR", forge: pcrs([]byte{0xa1}, pair(0x20)), says: "has a key that is a negative integer"},
		{name: "A8 PCR named in text", forge: pcrs([]byte{0xa1}, pair(0x61, '0')), says: "has a key that is a text string"},
		{name: "A8 PCR of 47 bytes", forge: pcrs([]byte{0xa1, 0}, bstr(make([]byte, 47))), says: "has 47 bytes in PCR0"},
		{name: "A8 PCR empty", forge: pcrs([]byte{0xa1, 0, 0x40}), says: "has 0 bytes in PCR0"},
		{name: "A8 PCR null", forge: pcrs([]byte{0xa1, 0, 0xf6}), says: "PCR0 is a simple value"},
		{name: "A8 no PCR", forge: pcrs([]byte{0xa0}), says: "pcrs is empty"},
		{name: "A8 33 PCRs", forge: func(f *forgery) {
			all := map[uint][]byte{}
			for i := range uint(33) {
				all[i] = pcr("x")
			}
			f.set("pcrs", pcrItem(all))
		}, says: "exceeded max number of key-value pairs 32"},
		{name: "A8 PCRs an array", forge: set("pcrs", 0x80), says: "pcrs is an array"},

		{name: "A22 empty module_id", forge: set("module_id", 0x60), says: "module_id is empty"},
		{name: "A22 module_id null", forge: set("module_id", 0xf6), says: "module_id is a simple value"},
		{name: "A22 module_id bytes", forge: field("module_id", bstr([]byte("x"))), says: "module_id is a byte string"},
		{name: "A22 empty cabundle", forge: set("cabundle", 0x80), says: "cabundle is empty"},
		{name: "A22 cabundle null", forge: set("cabundle", 0xf6), says: "cabundle is a simple value"},
		{name: "A22 empty certificate in cabundle", forge: set("cabundle", 0x81, 0x40), says: "cabundle[0] has 0 bytes"},
		{name: "A22 certificate in cabundle of 1025 bytes", forge: field("cabundle", bundleItem([][]byte{make([]byte, 1025)})), says: "cabundle[0] has 1025 bytes"},
		{name: "A22 text in cabundle", forge: set("cabundle", 0x81, 0x61, 'x'), says: "cabundle[0] is a text string"},
		{name: "A22 17 certificates in cabundle", forge: field("cabundle", append([]byte{0x91}, bytes.Repeat([]byte{0x41, 0}, 17)...)), says: "exceeded max number of elements 16"},
		{name: "A22 empty certificate", forge: set("certificate", 0x40), says: "certificate has 0 bytes"},
		{name: "A22 certificate null", forge: set("certificate", 0xf6), says: "certificate is a simple value"},
		{name: "A22 certificate of 1025 bytes", forge: field("certificate", bstr(make([]byte, 1025))), says: "certificate has 1025 bytes"},
	}
	for _, key := range []string{"module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"} {
		cases = append(cases, rejection{name: "A22 no " + key, forge: func(f *forgery) { f.drop(key) }, says: key + " is missing"})
	}
	for i := range cases {
		cases[i].want, cases[i].is = []string{CheckFormat}, ErrFormat
	}
	for _, digest := range []string{"SHA256", "sha384", "", "SHA384 "} {
		cases = append(cases, rejection{
			name: fmt.Sprintf("A22 digest %q", digest), forge: field("digest", tstr(digest)),
			want: []string{CheckDigest}, is: ErrDigest, says: fmt.Sprintf("expected SHA384, found %q", digest),
		})
	}
	testRejections(t, cases)
}

// TestTruncated: no beginning of a document is a document.
func TestTruncated(t *testing.T) {
	for _, indefinite := range []bool{false, true} {
		f := newForgery(t)
		if indefinite {
			f.head, f.tail = []byte{0xbf}, []byte{0xff}
		}
		raw := f.bytes()
		for n := range raw {
			if _, err := Parse(raw[:n]); err == nil {
				t.Fatalf("the first %d of %d bytes were taken for a document", n, len(raw))
			}
		}
	}
}

// TestTooLong: the limit is looked at before anything else.
func TestTooLong(t *testing.T) {
	f := newForgery(t)
	f.suffix = make([]byte, MaxDocument)
	_, err := Parse(f.bytes())
	var parse *ParseError
	if !errors.As(err, &parse) || parse.Check != CheckFormat || !errors.Is(err, ErrFormat) {
		t.Errorf("error %v, want a ParseError", err)
	}
	want := fmt.Sprintf("parse attestation document: %d bytes, at most 32768 are allowed", len(f.bytes()))
	if err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

// TestParseLargeFields: hardware signs what fits into a request of 4096 bytes,
// so Parse reads it; Verify has an opinion.
func TestParseLargeFields(t *testing.T) {
	f := newForgery(t)
	f.set("public_key", bstr(make([]byte, 4050)))
	f.set("nonce", []byte{0x40})
	f.set("user_data", []byte{0xf6})
	doc, err := Parse(f.bytes())
	if err != nil {
		t.Fatal(err)
	}
	type optional struct{ PublicKey, UserData, Nonce []byte }
	want := optional{make([]byte, 4050), nil, []byte{}}
	if diff := cmp.Diff(want, optional{doc.PublicKey, doc.UserData, doc.Nonce}); diff != "" {
		t.Errorf("optional fields (-want +got):\n%s", diff)
	}
}

// TestOptions: mistakes of the caller are no verdict about a document.
func TestOptions(t *testing.T) {
	f := newForgery(t)
	raw := f.bytes()
	for _, tt := range []struct {
		name   string
		change func(*Options)
		want   error
	}{
		{"A6 no PCRs", func(o *Options) { o.PCRs = nil }, ErrNoPCRPolicy},
		{"A6 empty PCRs", func(o *Options) { o.PCRs = map[uint][]byte{} }, ErrNoPCRPolicy},
		{"A6 PCR0 expected to be nil", func(o *Options) { o.PCRs[0] = nil }, ErrOptions},
		{"A6 PCR0 expected to be empty", func(o *Options) { o.PCRs[0] = []byte{} }, ErrOptions},
		{"PCR32", func(o *Options) { o.PCRs[32] = pcr("x") }, ErrOptions},
		{"policy and none", func(o *Options) { o.NoPCRPolicy = true }, ErrOptions},
		{"no roots", func(o *Options) { o.Roots = nil }, ErrNoRoot},
		{"nil root", func(o *Options) { o.Roots = append(o.Roots, nil) }, ErrNoRoot},
		{"two times", func(o *Options) { o.AtDocumentTime = true }, ErrOptions},
		{"negative age", func(o *Options) { o.MaxAge = -1 }, ErrOptions},
		{"negative limit", func(o *Options) { o.MaxField = -1 }, ErrOptions},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := policy(f.root.cert)
			tt.change(&opts)
			r, err := Verify(raw, opts)
			if r != nil || !errors.Is(err, tt.want) {
				t.Errorf("result %v, error %v; want none and %v", r, err, tt.want)
			}
			if refusal := (*VerifyError)(nil); errors.As(err, &refusal) {
				t.Error("a mistake of the caller is reported as a refused document")
			}
		})
	}
}
