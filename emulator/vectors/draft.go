package vectors

import (
	"bytes"
	"crypto"
	"crypto/sha512"
	"fmt"
	"slices"
	"time"
)

// A draft is a document whose every part can be wrong before it is put together
// and signed. Unchanged, it is a good one. What is changed is signed over
// unless a recipe says otherwise, so that each document has the one fault it is
// about.
type draft struct {
	world world
	made  time.Time // the time in the document

	chain  []*certificate                   // root first, leaf last
	leaf   []byte                           // instead of the chain's, if not nil
	bundle func(bundle [][]byte) [][]byte   // changes cabundle
	fields []pair                           // of the payload; no value: from the chain
	head   []byte                           // of the payload's map; nil: by the number of fields
	tail   []byte                           // after its last entry
	edit   func(document []byte) []byte     // the finished document
	body   func(payload []byte) []byte      // the payload before it is signed
	swap   func(payload []byte) []byte      // the payload after it was signed
	sealed func(sigStructure []byte) []byte // what is signed, RFC 9052 section 4.4
	sign   func(sigStructure []byte) []byte // instead of ES384 by the leaf's key
	signed func(signature []byte) []byte    // changes the signature
	items  [4]func(item []byte) []byte      // the elements of COSE_Sign1
	prefix []byte                           // a tag

	protected   []byte // content of the byte string
	unprotected []byte // the item
}

// Elements of COSE_Sign1.
const (
	itemProtected = iota
	itemUnprotected
	itemPayload
	itemSignature
)

// Keys of the payload, in the order they always have.
const (
	keyModuleID    = "module_id"
	keyDigest      = "digest"
	keyTimestamp   = "timestamp"
	keyPCRs        = "pcrs"
	keyCertificate = "certificate"
	keyCABundle    = "cabundle"
	keyPublicKey   = "public_key"
	keyUserData    = "user_data"
	keyNonce       = "nonce"
)

var protectedES384 = []byte{0xa1, 0x01, 0x38, 0x22}

// newDraft begins with a production document of the indefinite form of 2025,
// with the three optional fields.
func newDraft(w world, made time.Time) *draft {
	k := w.keys
	d := &draft{
		world: w, made: made, chain: w.chain(),
		head: []byte{0xbf}, tail: []byte{cborBreak},
		protected: protectedES384, unprotected: []byte{0xa0},
	}
	d.fields = []pair{
		{tstr(keyModuleID), tstr(moduleID)},
		{tstr(keyDigest), tstr("SHA384")},
		{tstr(keyTimestamp), uint64Item(uint64(made.UnixMilli()))},
		{tstr(keyPCRs), pcrItem(productionPCRs(k))},
		{tstr(keyCertificate), nil},
		{tstr(keyCABundle), nil},
		{tstr(keyPublicKey), bstr(goodPublicKey(k))},
		{tstr(keyUserData), bstr(goodUserData(k))},
		{tstr(keyNonce), bstr(goodNonce(k))},
	}
	return d
}

func goodPublicKey(k *keyring) []byte { return subjectKey(k.p384("enclave's own")) }
func goodUserData(k *keyring) []byte  { return k.bytes("user data", 48) }
func goodNonce(k *keyring) []byte     { return k.bytes("nonce", 32) }

// pcr is a register that was extended once by something that has this name.
func pcr(k *keyring, label string) []byte {
	sum := sha512.Sum384(append(make([]byte, 48), k.bytes("measurement "+label, 48)...))
	return sum[:]
}

func dense(n uint) map[uint][]byte {
	pcrs := make(map[uint][]byte, n)
	for i := range n {
		pcrs[i] = make([]byte, 48)
	}
	return pcrs
}

// productionPCRs are those of an enclave whose parent has a role: 0 to 15, with
// 0 to 4 set. PCR4 is that of the instance, by AWS's formula.
func productionPCRs(k *keyring) map[uint][]byte {
	pcrs := dense(16)
	for i := range uint(4) {
		pcrs[i] = pcr(k, fmt.Sprint(i))
	}
	sum := sha512.Sum384(append(make([]byte, 48), instanceID...))
	pcrs[4] = sum[:]
	return pcrs
}

// debugPCRs are those of the same in debug mode: PCR3 and PCR4 stay.
func debugPCRs(k *keyring) map[uint][]byte {
	pcrs := productionPCRs(k)
	for i := range uint(3) {
		pcrs[i] = make([]byte, 48)
	}
	return pcrs
}

func pcrItem(pcrs map[uint][]byte) []byte {
	var pairs []pair
	for i := range uint(256) {
		if v, ok := pcrs[i]; ok {
			pairs = append(pairs, pair{head(majorUint, uint64(i)), bstr(v)})
		}
	}
	return mapOf(pairs...)
}

func (d *draft) index(key string) int {
	i := slices.IndexFunc(d.fields, func(p pair) bool { return bytes.Equal(p.key, tstr(key)) })
	if i < 0 {
		broken("draft has no field %q", key)
	}
	return i
}

// rename gives a field another key. Its value is settled before: that of the
// chain is found by the key.
func (d *draft) rename(key string, to []byte) {
	d.fields[d.index(key)] = pair{to, d.value(key)}
}

// definite gives the payload the form of 2021: a map of a stated number.
func (d *draft) definite() { d.head, d.tail = nil, nil }

func (d *draft) set(key string, value []byte)  { d.fields[d.index(key)].value = value }
func (d *draft) add(key string, value []byte)  { d.fields = append(d.fields, pair{tstr(key), value}) }
func (d *draft) setPCRs(pcrs map[uint][]byte)  { d.set(keyPCRs, pcrItem(pcrs)) }
func (d *draft) timestamp(milliseconds uint64) { d.set(keyTimestamp, uint64Item(milliseconds)) }
func (d *draft) drop(key string) {
	i := d.index(key)
	d.fields = slices.Delete(d.fields, i, i+1)
}

// madeAt moves the time in the document.
func (d *draft) madeAt(t time.Time) { d.timestamp(uint64(t.UnixMilli())) }

// certificates are the encoded chain, root first.
func (d *draft) certificates() [][]byte {
	var ders [][]byte
	var parent *certificate
	for _, c := range d.chain {
		ders = append(ders, c.encode(d.world.keys, parent))
		parent = c
	}
	return ders
}

func bundleItem(ders [][]byte) []byte {
	items := make([][]byte, len(ders))
	for i, der := range ders {
		items[i] = bstr(der)
	}
	return array(items...)
}

// payload is the map that is signed.
func (d *draft) payload() []byte {
	ders := d.certificates()
	bundle, certificate := ders[:len(ders)-1], ders[len(ders)-1]
	if d.bundle != nil {
		bundle = d.bundle(bundle)
	}
	if d.leaf != nil {
		certificate = d.leaf
	}
	out := d.head
	if out == nil {
		out = head(majorMap, uint64(len(d.fields)))
	}
	out = bytes.Clone(out)
	for _, f := range d.fields {
		value := f.value
		switch {
		case value == nil && bytes.Equal(f.key, tstr(keyCertificate)):
			value = bstr(certificate)
		case value == nil && bytes.Equal(f.key, tstr(keyCABundle)):
			value = bundleItem(bundle)
		}
		out = append(append(out, f.key...), value...)
	}
	out = append(out, d.tail...)
	if d.body != nil {
		out = d.body(out)
	}
	return out
}

// sigStructure is what COSE signs: context, protected header, no external data,
// payload (RFC 9052 section 4.4).
func sigStructure(protected, payload []byte) []byte {
	return array(tstr("Signature1"), bstr(protected), bstr(nil), bstr(payload))
}

// key is the leaf's.
func (d *draft) key() crypto.Signer { return d.chain[len(d.chain)-1].key }

// es384 is r and s of 48 bytes each.
func (d *draft) es384(key crypto.Signer, message []byte) []byte {
	return fixedSize(d.world.keys.sign(key, sha384, message), 48)
}

// document puts everything together.
func (d *draft) document() []byte {
	payload := d.payload()
	message := sigStructure(d.protected, payload)
	if d.sealed != nil {
		message = d.sealed(message)
	}
	var signature []byte
	if d.sign != nil {
		signature = d.sign(message)
	} else {
		signature = d.es384(d.key(), message)
	}
	if d.signed != nil {
		signature = d.signed(signature)
	}
	if d.swap != nil {
		payload = d.swap(bytes.Clone(payload))
	}
	items := [4][]byte{bstr(d.protected), d.unprotected, bstr(payload), bstr(signature)}
	for i, change := range d.items {
		if change != nil {
			items[i] = change(items[i])
		}
	}
	out := join(d.prefix, array(items[:]...))
	if d.edit != nil {
		out = d.edit(out)
	}
	return out
}
