package attestation

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"sync"
	"testing"
	"time"
)

// A forgery is a document whose every part can be changed before it is put
// together and signed. Unchanged, it is a good one. Its encoder is this file's
// own.
type forgery struct {
	t testing.TB

	// The chain. Changing a certificate leaves those below it valid, because
	// they depend on its name and key only.
	root, regional, zonal, instance, leaf *link

	bundle [][]byte // nil: made from the chain

	fields     []forgedField
	head, tail []byte // of the payload's map; nil: by the number of fields

	prefix      []byte // a tag
	protected   []byte // content of the byte string
	unprotected []byte // the CBOR item
	payload     func([]byte) []byte
	signature   func([]byte) []byte
	signed      func([]byte) []byte // changes the Sig_structure
	suffix      []byte
}

// A forgedField is a key and a value, both as CBOR items.
type forgedField struct{ key, value []byte }

// goodLeaf is what every forgery begins with; links are never changed.
var goodLeaf = sync.OnceValues(func() (*link, error) {
	a, err := NewAuthority(Config{Entropy: entropy(1), Clock: newFakeClock().Now})
	if err != nil {
		return nil, err
	}
	i, err := a.Enclave(testEnclave)
	if err != nil {
		return nil, err
	}
	return i.issueLeaf(t0.Truncate(time.Second))
})

func newForgery(t testing.TB) *forgery {
	t.Helper()
	leaf, err := goodLeaf()
	if err != nil {
		t.Fatal(err)
	}
	f := &forgery{
		t: t, leaf: leaf, instance: leaf.parent, zonal: leaf.parent.parent,
		regional: leaf.parent.parent.parent, root: leaf.parent.parent.parent.parent,
		protected: []byte{0xa1, 0x01, 0x38, 0x22}, unprotected: []byte{0xa0},
	}
	f.fields = []forgedField{
		{tstr("module_id"), tstr(ModuleID(testEnclave.InstanceID, testEnclave.SlotUID))},
		{tstr("digest"), tstr("SHA384")},
		{tstr("timestamp"), uint64Item(uint64(t0.UnixMilli()))},
		{tstr("pcrs"), pcrItem(productionPCRs())},
		{tstr("certificate"), nil}, // nil: from the chain
		{tstr("cabundle"), nil},
		{tstr("public_key"), bstr([]byte("public key"))},
		{tstr("user_data"), bstr([]byte("user data"))},
		{tstr("nonce"), bstr([]byte("nonce"))},
	}
	return f
}

func uint64Item(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{0x1b}, n) }

func pcrItem(pcrs map[uint][]byte) []byte {
	out := []byte{0xb8, byte(len(pcrs))}
	for i := range uint(256) {
		if v, ok := pcrs[i]; ok {
			out = append(append(out, 0x18, byte(i)), bstr(v)...)
		}
	}
	return out
}

func bundleItem(ders [][]byte) []byte {
	out := []byte{0x80 | byte(len(ders))}
	for _, der := range ders {
		out = append(out, bstr(der)...)
	}
	return out
}

func (f *forgery) index(key string) int {
	for i := range f.fields {
		if bytes.Equal(f.fields[i].key, tstr(key)) {
			return i
		}
	}
	f.t.Fatalf("no field %q", key)
	return -1
}

func (f *forgery) set(key string, value []byte) { f.fields[f.index(key)].value = value }
func (f *forgery) drop(key string) {
	i := f.index(key)
	f.fields = append(f.fields[:i:i], f.fields[i+1:]...)
}

func (f *forgery) add(key string, value []byte) {
	f.fields = append(f.fields, forgedField{tstr(key), value})
}

func (f *forgery) chain() [][]byte {
	if f.bundle != nil {
		return f.bundle
	}
	return [][]byte{f.root.cert.Raw, f.regional.cert.Raw, f.zonal.cert.Raw, f.instance.cert.Raw}
}

// bytes puts the document together.
func (f *forgery) bytes() []byte {
	f.t.Helper()
	payload := f.head
	if payload == nil {
		payload = []byte{0xa0 | byte(len(f.fields))}
	}
	payload = bytes.Clone(payload)
	for _, field := range f.fields {
		value := field.value
		if value == nil && bytes.Equal(field.key, tstr("certificate")) {
			value = bstr(f.leaf.cert.Raw)
		}
		if value == nil && bytes.Equal(field.key, tstr("cabundle")) {
			value = bundleItem(f.chain())
		}
		payload = append(append(payload, field.key...), value...)
	}
	payload = append(payload, f.tail...)
	if f.payload != nil {
		payload = f.payload(payload)
	}
	sigStructure := append([]byte{0x84}, tstr("Signature1")...)
	sigStructure = append(append(sigStructure, bstr(f.protected)...), 0x40)
	sigStructure = append(sigStructure, bstr(payload)...)
	if f.signed != nil {
		sigStructure = f.signed(sigStructure)
	}
	signature := signES384(f.t, f.leaf.key.key, sigStructure)
	if f.signature != nil {
		signature = f.signature(signature)
	}
	doc := append(bytes.Clone(f.prefix), 0x84)
	doc = append(append(doc, bstr(f.protected)...), f.unprotected...)
	doc = append(append(doc, bstr(payload)...), bstr(signature)...)
	return append(doc, f.suffix...)
}

// signES384 gives r and s, 48 bytes each.
func signES384(t testing.TB, key *ecdsa.PrivateKey, message []byte) []byte {
	t.Helper()
	digest := sha512.Sum384(message)
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return append(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48))...)
}

// reissue makes l again, by the same issuer and for the same key, after change.
func (f *forgery) reissue(l *link, change func(*template)) *link {
	f.t.Helper()
	c := l.cert
	tmpl := template{
		subject: c.RawSubject, serial: c.SerialNumber.Bytes(), notBefore: c.NotBefore, notAfter: c.NotAfter,
		extensions: append([]pkix.Extension{}, c.Extensions...),
	}
	change(&tmpl)
	return f.create(tmpl, l.key, l.parent)
}

// create is template.issue for certificates that need not be readable.
func (f *forgery) create(tmpl template, key signer, parent *link) *link {
	f.t.Helper()
	der, err := tmpl.create(key, parent)
	if err != nil {
		f.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		cert = &x509.Certificate{Raw: der, RawSubject: tmpl.subject}
	}
	return &link{cert: cert, key: key, parent: parent}
}

// rekey makes l again for another key, and by another issuer if there is one.
func (f *forgery) rekey(l *link, key signer, parent *link) *link {
	f.t.Helper()
	c := l.cert
	return f.create(template{
		subject: c.RawSubject, serial: c.SerialNumber.Bytes(), notBefore: c.NotBefore, notAfter: c.NotAfter,
		extensions: c.Extensions,
	}, key, parent)
}

// rewrite makes l again after a change to the DER of its TBSCertificate, which
// must keep its length: everything else is as long as it was.
func (f *forgery) rewrite(l *link, old, replacement []byte) *link {
	f.t.Helper()
	tbs := l.cert.RawTBSCertificate
	if bytes.Count(tbs, old) != 1 || len(old) != len(replacement) {
		f.t.Fatalf("%x is %d times in the certificate, or its replacement has another length", old, bytes.Count(tbs, old))
	}
	tbs = bytes.Replace(tbs, old, replacement, 1)
	digest := sha512.Sum384(tbs)
	signature, err := l.parent.key.Sign(nil, digest[:], crypto.SHA384)
	if err != nil {
		f.t.Fatal(err)
	}
	der, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{
		asn1.RawValue{FullBytes: tbs},
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}},
		asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	// The bytes alone matter: they may be no certificate any more.
	return &link{cert: &x509.Certificate{Raw: der, RawSubject: l.cert.RawSubject}, key: l.key, parent: l.parent}
}

// extend appends an extension.
func extend(e pkix.Extension) func(*template) {
	return func(t *template) { t.extensions = append(t.extensions, e) }
}

// replace puts e in place of the extension with its id; without drops it.
func replace(e pkix.Extension) func(*template) {
	return func(t *template) {
		for i := range t.extensions {
			if t.extensions[i].Id.Equal(e.Id) {
				t.extensions[i] = e
			}
		}
	}
}

func without(oid asn1.ObjectIdentifier) func(*template) {
	return func(t *template) {
		for i := range t.extensions {
			if t.extensions[i].Id.Equal(oid) {
				t.extensions = append(t.extensions[:i:i], t.extensions[i+1:]...)
				return
			}
		}
	}
}

func newKey(t testing.TB, curve elliptic.Curve) signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{k}
}

// negateS is the malleable twin of an ECDSA signature.
func negateS(signature []byte) []byte {
	s := new(big.Int).SetBytes(signature[48:])
	s.Sub(elliptic.P384().Params().N, s)
	return append(bytes.Clone(signature[:48]), s.FillBytes(make([]byte, 48))...)
}
