package attestation

import (
	"bytes"
	"crypto/x509"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hf/nitrite"
)

// seedCorpus is good documents of both encodings, tagged and not, and what is
// wrong with documents in the field.
func seedCorpus(f *testing.F) (good [][]byte) {
	f.Helper()
	forge := newForgery(f)
	good = append(good, forge.bytes())
	forge.head, forge.tail, forge.prefix = []byte{0xbf}, []byte{0xff}, []byte{0xd2}
	good = append(good, forge.bytes())
	for _, key := range []string{"public_key", "user_data", "nonce"} {
		forge.set(key, []byte{0xf6})
	}
	good = append(good, forge.bytes())
	for _, raw := range good {
		f.Add(raw)
		f.Add(raw[:len(raw)-1])
		f.Add(append(bytes.Clone(raw), 0))
		for _, at := range []int{0, 1, 6, 7, 12, 40, 100, 900, 2000, len(raw) - 50} {
			changed := bytes.Clone(raw)
			changed[at] ^= 0x20
			f.Add(changed)
		}
	}
	f.Add([]byte{})
	f.Add([]byte{0xd2, 0x84, 0x44, 0xa1, 0x01, 0x38, 0x22, 0xa0, 0x40, 0x58, 0x60})
	forge.unprotected = []byte{0xf6}
	f.Add(forge.bytes())
	return good
}

// FuzzParse: no panic, bounds as documented, and a document that is encoded
// again says the same.
func FuzzParse(f *testing.F) {
	seedCorpus(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		doc, err := Parse(raw)
		if err != nil {
			return
		}
		if doc.ModuleID == "" || doc.Digest != "SHA384" || doc.Timestamp == 0 || len(doc.Signature()) != 96 ||
			len(doc.PCRs) < 1 || len(doc.PCRs) > 32 || len(doc.CABundle) < 1 || len(doc.CABundle) > 16 ||
			len(doc.Payload()) > MaxPayload || len(doc.Certificate) < 1 || len(doc.Certificate) > MaxCertificate {
			t.Fatalf("parsed beyond the limits: %+v", doc)
		}
		again, err := payload{
			moduleID: doc.ModuleID, timestamp: doc.Time(), certificate: doc.Certificate, bundle: doc.CABundle,
			claims: Claims{PCRs: doc.PCRs, UserData: doc.UserData, Nonce: doc.Nonce, PublicKey: doc.PublicKey, Encoding: doc.Encoding},
		}.encode()
		if err != nil {
			return // the timestamp always takes nine bytes: it may get too long
		}
		second := &Document{payload: again}
		if err := second.parsePayload(); err != nil {
			t.Fatalf("encoded again, it is refused: %v", err)
		}
		if diff := cmp.Diff(doc, second, cmpopts.IgnoreUnexported(Document{}), cmpopts.IgnoreFields(Document{}, "Tagged")); diff != "" {
			t.Fatalf("encoded again, it says something else (-first +second):\n%s", diff)
		}
	})
}

// FuzzVerify: whatever is accepted has the signed content of a good document,
// and hf/nitrite accepts it too.
func FuzzVerify(f *testing.F) {
	known := make(map[[48]byte]bool)
	for _, raw := range seedCorpus(f) {
		doc, err := Parse(raw)
		if err != nil {
			f.Fatal(err)
		}
		known[doc.Fingerprint()] = true
	}
	root := newForgery(f).root.cert
	pool := x509.NewCertPool()
	pool.AddCert(root)
	f.Fuzz(func(t *testing.T, raw []byte) {
		opts := policy(root)
		r, err := Verify(raw, opts)
		if err != nil {
			if r == nil || r.Err() == nil {
				t.Fatalf("error %v with result %+v", err, r)
			}
			return
		}
		if !known[r.Document.Fingerprint()] {
			t.Fatalf("accepted a payload that was never signed: %x", r.Document.Payload())
		}
		if r.Document.Tagged {
			raw = raw[1:]
		}
		if _, err := nitrite.Verify(raw, nitrite.VerifyOptions{Roots: pool, CurrentTime: opts.Time}); err != nil {
			t.Fatalf("accepted here, refused by nitrite: %v", err)
		}
	})
}
