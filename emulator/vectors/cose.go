package vectors

import (
	"bytes"
	"crypto"
	"fmt"
	"strings"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

var failsFormat = []string{attestation.CheckFormat}

// Shapes of recipes about the envelope.

func protected(content ...byte) func(*draft) { return func(d *draft) { d.protected = content } }

func unprotected(item ...byte) func(*draft) { return func(d *draft) { d.unprotected = item } }

func prefix(tag ...byte) func(*draft) { return func(d *draft) { d.prefix = tag } }

func edit(change func(document []byte) []byte) func(*draft) {
	return func(d *draft) { d.edit = change }
}

func item(i int, change func(item []byte) []byte) func(*draft) {
	return func(d *draft) { d.items[i] = change }
}

// envelopes are A19 as far as COSE goes: RFC 9052 and AWS's narrower form of it.
func envelopes(k *kitchen) {
	k.cook("A19", recipe{fails: failsFormat, source: rfcSign1}, []recipe{
		{id: "tag-17", title: "tag 17, COSE_Mac0", forge: prefix(0xd1)},
		{id: "tag-16", title: "tag 16, COSE_Encrypt0", forge: prefix(0xd0)},
		{id: "tag-98", title: "tag 98, COSE_Sign", forge: prefix(0xd8, 98)},
		{id: "tag-61", title: "tag 61, CWT", forge: prefix(0xd8, 61)},
		{id: "tag-18-twice", title: "tag 18 twice", forge: prefix(0xd2, 0xd2), level: Strict},
		{id: "tag-55799", title: "the tag of self-described CBOR before tag 18", forge: prefix(0xd9, 0xd9, 0xf7, 0xd2), verdict: Either, level: Strict, source: "RFC 8949 section 3.4.6"},
		{id: "tag-18-in-two-bytes", title: "tag 18 in a longer form", forge: prefix(0xd8, 18), verdict: Either, level: Strict, source: rfcCBOR},
		{id: "trailing-zero", title: "a byte after the document", forge: edit(func(b []byte) []byte { return append(b, 0) }), source: "Cantina review of base/nitro-validator 2025, 3.1.2", level: Strict},
		{id: "trailing-newline", title: "a newline after the document", forge: edit(func(b []byte) []byte { return append(b, '\n') }), level: Strict},
		{id: "trailing-break", title: "a break after the document", forge: edit(func(b []byte) []byte { return append(b, cborBreak) }), level: Strict},
		{id: "two-documents", title: "a second document after the first", forge: edit(func(b []byte) []byte { return append(b, b...) }), level: Strict},
		{id: "leading-zero", title: "a byte before the document", forge: edit(func(b []byte) []byte { return append([]byte{0}, b...) })},
		{id: "three-elements", title: "an array of three: no signature", forge: edit(func(b []byte) []byte { return append([]byte{0x83}, b[1:len(b)-98]...) })},
		{id: "five-elements", title: "an array of five: a null after the signature", forge: edit(func(b []byte) []byte { return join([]byte{0x85}, b[1:], cborNull) })},
		{id: "no-elements", title: "an array of none", forge: edit(func([]byte) []byte { return []byte{0x80} })},
		{id: "stated-five", title: "an array of five that ends after four", forge: edit(func(b []byte) []byte { return append([]byte{0x85}, b[1:]...) })},
		{id: "stated-three", title: "an array of three with four elements", forge: edit(func(b []byte) []byte { return append([]byte{0x83}, b[1:]...) })},
		{id: "map-instead-of-array", title: "a map of two with the four elements", forge: edit(func(b []byte) []byte { return append([]byte{0xa2}, b[1:]...) })},
		{id: "indefinite-array", title: "an array of indefinite length", forge: edit(func(b []byte) []byte { return join([]byte{0x9f}, b[1:], []byte{cborBreak}) }), level: Strict},
		{id: "array-head-of-two-bytes", title: "the array's head in a longer form", forge: edit(func(b []byte) []byte { return append([]byte{0x98, 4}, b[1:]...) }), verdict: Either, level: Strict, source: rfcCBOR},
		{id: "cose-sign", title: "the same document as a COSE_Sign with one signature", forge: func(d *draft) {
			d.sealed = func([]byte) []byte {
				return array(tstr("Signature"), bstr(nil), bstr(d.protected), bstr(nil), bstr(d.payload()))
			}
			d.items[itemSignature] = func(b []byte) []byte { return array(array(bstr(d.protected), []byte{0xa0}, b)) }
			d.prefix = []byte{0xd8, 98}
		}, source: "RFC 9052 section 4.1"},

		{id: "payload-null", title: "payload null: detached", forge: item(itemPayload, func([]byte) []byte { return cborNull })},
		{id: "payload-text", title: "payload as text", forge: item(itemPayload, func(b []byte) []byte { return append([]byte{b[0] | 0x20}, b[1:]...) })},
		{id: "payload-not-wrapped", title: "payload as a map and not as a byte string", forge: item(itemPayload, func(b []byte) []byte { return b[3:] })},
		{id: "payload-wrapped-twice", title: "payload a byte string in a byte string", forge: func(d *draft) { d.body = bstr }},
		{id: "payload-tag-24", title: "payload with tag 24, encoded CBOR", forge: item(itemPayload, func(b []byte) []byte { return append([]byte{0xd8, 24}, b...) }), level: Strict},
		{id: "payload-in-chunks", title: "payload a byte string of indefinite length", forge: item(itemPayload, func(b []byte) []byte {
			return join([]byte{0x5f}, bstr(b[3:1003]), bstr(b[1003:]), []byte{cborBreak})
		}), level: Strict},
		{id: "payload-and-signature-swapped", title: "signature before payload", forge: edit(func(b []byte) []byte {
			return join(b[:7], b[len(b)-98:], b[7:len(b)-98])
		}), fails: failsSignature},
	})
	headers(k)
	for _, i := range []struct {
		id, title   string
		which, size int
		least       int // width of the shortest head
	}{
		{"protected", "protected header", itemProtected, 1, 0},
		{"payload", "payload", itemPayload, 3, 2},
		{"signature", "signature", itemSignature, 2, 1},
	} {
		for width := i.least + 1; width <= 4; width++ {
			k.add("A19", recipe{
				id: fmt.Sprintf("%s-head-of-%d", i.id, 1+1<<(width-1)), title: fmt.Sprintf("head of the %s in %d bytes", i.title, 1+1<<(width-1)),
				verdict: Either, level: Strict, source: rfcCBOR,
				forge: item(i.which, func(b []byte) []byte {
					return append(headOf(majorBytes, uint64(len(b)-i.size), width), b[i.size:]...)
				}),
			})
		}
	}
}

// headers are the two headers. What is wrong in the protected one is signed.
func headers(k *kitchen) {
	extra := func(more ...byte) []byte { return append([]byte{0xa2, 0x01, 0x38, 0x22}, more...) }
	k.cook("A19", recipe{fails: failsSignature, source: specCOSE}, []recipe{
		{id: "alg-es256", title: "algorithm -7, ES256", forge: protected(0xa1, 0x01, 0x26)},
		{id: "alg-es512", title: "algorithm -36, ES512", forge: protected(0xa1, 0x01, 0x38, 0x23)},
		{id: "alg-minus-1", title: "algorithm -1", forge: protected(0xa1, 0x01, 0x20)},
		{id: "alg-0", title: "algorithm 0, which is reserved", forge: protected(0xa1, 0x01, 0x00)},
		{id: "alg-35", title: "algorithm 35, without the minus", forge: protected(0xa1, 0x01, 0x18, 0x23)},
		{id: "alg-eddsa", title: "algorithm -8, EdDSA", forge: protected(0xa1, 0x01, 0x27)},
		{id: "alg-ps384", title: "algorithm -38, PS384", forge: protected(0xa1, 0x01, 0x38, 0x25)},
		{id: "alg-rs256", title: "algorithm -257, RS256", forge: protected(0xa1, 0x01, 0x39, 0x01, 0x00)},
		{id: "alg-esp384", title: "algorithm -51, ESP384 of RFC 9864", forge: protected(0xa1, 0x01, 0x38, 0x32), level: Strict},
		{id: "alg-none", title: `algorithm "none"`, forge: protected(append([]byte{0xa1, 0x01}, tstr("none")...)...)},
		{id: "alg-text", title: `algorithm "ES384", which is not its registered form`, forge: protected(append([]byte{0xa1, 0x01}, tstr("ES384")...)...), level: Strict},
		{id: "alg-null", title: "algorithm null", forge: protected(0xa1, 0x01, 0xf6)},
		{id: "alg-float", title: "algorithm -35.0", forge: protected(0xa1, 0x01, 0xf9, 0xd0, 0x60), level: Strict},
		{id: "alg-64-bits", title: "algorithm of -2^64", forge: protected(0xa1, 0x01, 0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)},
		{id: "alg-wraps", title: "algorithm of 2^32-35, which is -35 in 32 bits", forge: protected(0xa1, 0x01, 0x1a, 0xff, 0xff, 0xff, 0xdd)},
		{id: "no-alg", title: "protected header an empty map", forge: protected(0xa0)},
		{id: "es256-signature", title: "a leaf on P-256 and a good ES256 signature", forge: func(d *draft) {
			d.protected = []byte{0xa1, 0x01, 0x26}
			key := k.ecdsa(p256, "ES256 leaf")
			d.chain[leaf].key = key
			d.sign = func(m []byte) []byte { return fixedSize(k.sign(key, crypto.SHA256, m), 32) }
		}},
	})
	k.cook("A19", recipe{fails: failsFormat, source: rfcHeaders}, []recipe{
		{id: "protected-empty", title: "protected header of no bytes", forge: protected()},
		{id: "protected-array", title: "protected header an array", forge: protected(0x82, 0x01, 0x38, 0x22)},
		{id: "protected-null", title: "protected header of null", forge: protected(0xf6)},
		{id: "protected-not-wrapped", title: "protected header as a map and not as a byte string", forge: item(itemProtected, func(b []byte) []byte { return b[1:] })},
		{id: "protected-item-null", title: "null instead of the protected header", forge: item(itemProtected, func([]byte) []byte { return cborNull })},
		{id: "protected-text", title: "protected header as text", forge: item(itemProtected, func(b []byte) []byte { return append([]byte{0x64}, b[1:]...) })},
		{id: "protected-cut", title: "protected header cut off", forge: protected(0xa1, 0x01, 0x38)},
		{id: "protected-stated-two", title: "protected header a map of two that ends after one", forge: protected(0xa2, 0x01, 0x38, 0x22)},
		{id: "protected-tail", title: "a byte after the map of the protected header", forge: protected(0xa1, 0x01, 0x38, 0x22, 0x00), level: Strict},
		{id: "protected-indefinite", title: "protected header a map of indefinite length", forge: protected(0xbf, 0x01, 0x38, 0x22, 0xff), level: Strict, source: "CVE-2026-21218"},
		{id: "protected-indefinite-empty", title: "protected header an empty map of indefinite length", forge: protected(0xbf, 0xff), source: "CVE-2026-21218"},
		{id: "protected-alg-in-three-bytes", title: "algorithm -35 in a longer form", forge: protected(0xa1, 0x01, 0x39, 0x00, 0x22), verdict: Either, level: Strict, source: rfcCBOR},
		{id: "protected-label-in-two-bytes", title: "label 1 in a longer form", forge: protected(0xa1, 0x18, 0x01, 0x38, 0x22), verdict: Either, level: Strict, source: rfcCBOR},
		{id: "alg-twice", title: "algorithm twice, -35 and -35", forge: protected(extra(0x01, 0x38, 0x22)...), source: rfcCBORMap},
		{id: "alg-twice-es256-last", title: "algorithm twice, -35 and then -7", forge: protected(extra(0x01, 0x26)...), source: rfcCBORMap},
		{id: "alg-twice-es256-first", title: "algorithm twice, -7 and then -35", forge: protected(0xa2, 0x01, 0x26, 0x01, 0x38, 0x22), source: rfcCBORMap},
		{id: "crit-empty", title: "an empty list of critical headers", forge: protected(extra(0x02, 0x80)...), source: rfcCrit},
		{id: "crit-unknown", title: "a critical header that nobody knows", forge: protected(append(append([]byte{0xa3, 0x01, 0x38, 0x22}, 0x02, 0x81, 0x18, 0x63), 0x18, 0x63, 0x00)...), source: rfcCrit},
		{id: "crit-absent-header", title: "a critical header that is not there", forge: protected(extra(0x02, 0x81, 0x18, 0x63)...), source: rfcCrit},
		{id: "crit-text", title: "a critical header with a text label", forge: protected(append(extra(0x02, 0x81), tstr("x")...)...), source: rfcCrit},
		{id: "crit-number", title: "a list of critical headers that is a number", forge: protected(extra(0x02, 0x01)...), source: rfcCrit},
		{id: "crit-alg", title: "a list of critical headers that names the algorithm", forge: protected(extra(0x02, 0x81, 0x01)...), verdict: Either, level: Strict, source: rfcCrit},
		{id: "crit-unprotected", title: "a list of critical headers in the unprotected header", forge: unprotected(0xa1, 0x02, 0x81, 0x18, 0x63), source: rfcCrit},
		{id: "kid-protected", title: "a key id in the protected header", forge: protected(extra(0x04, 0x41, 0x31)...), level: Strict, source: specCOSE},
		{id: "content-type-protected", title: "a content type in the protected header", forge: protected(extra(0x03, 0x00)...), level: Strict, source: specCOSE},
		{id: "text-label-protected", title: "a header with a text label", forge: protected(extra(0x61, 'x', 0x00)...), level: Strict, source: specCOSE},

		{id: "alg-unprotected-alone", title: "algorithm in the unprotected header alone", forge: func(d *draft) {
			d.protected, d.unprotected = []byte{0xa0}, []byte{0xa1, 0x01, 0x38, 0x22}
		}, source: specCOSE},
		{id: "alg-unprotected-alone-empty", title: "algorithm in the unprotected header alone, the protected one of no bytes", forge: func(d *draft) {
			d.protected, d.unprotected = nil, []byte{0xa1, 0x01, 0x38, 0x22}
		}, source: specCOSE},
		{id: "alg-in-both", title: "algorithm in both headers", forge: unprotected(0xa1, 0x01, 0x38, 0x22), level: Strict, source: rfcHeaders + ": labels occur once"},
		{id: "alg-in-both-differently", title: "algorithm -35 protected and -7 unprotected", forge: unprotected(0xa1, 0x01, 0x26), source: rfcHeaders + ": labels occur once"},
		{id: "kid-unprotected", title: "a key id in the unprotected header", forge: unprotected(0xa1, 0x04, 0x41, 0x31), level: Strict, source: specCOSE + ": nothing in unprotected"},
		{id: "unprotected-null", title: "unprotected header null", forge: unprotected(0xf6)},
		{id: "unprotected-array", title: "unprotected header an empty array", forge: unprotected(0x80)},
		{id: "unprotected-byte-string", title: "unprotected header an empty byte string", forge: unprotected(0x40)},
		{id: "unprotected-indefinite", title: "unprotected header an empty map of indefinite length", forge: unprotected(0xbf, 0xff), level: Strict, source: "CVE-2026-21218"},
		{id: "unprotected-head-of-two-bytes", title: "unprotected header an empty map with a longer head", forge: unprotected(0xb8, 0x00), verdict: Either, level: Strict, source: rfcCBOR},
		{id: "unprotected-cut", title: "unprotected header a map of one without its value", forge: unprotected(0xa1, 0x04)},
		{id: "unprotected-4-kib", title: "4 KiB in the unprotected header", forge: unprotected(append([]byte{0xa1, 0x04}, bstr(bytes.Repeat([]byte{0x31}, 4096))...)...), level: Strict, source: specCOSE + ": nothing in unprotected"},
	})
}

// truncations end documents early: cut off after signing, and signed as they are.
func truncations(k *kitchen) {
	cut := func(where func(n int) int) func(*draft) {
		return edit(func(b []byte) []byte { return b[:where(len(b))] })
	}
	at := func(n int) func(*draft) { return cut(func(int) int { return n }) }
	before := func(n int) func(*draft) { return cut(func(size int) int { return size - n }) }
	k.cook("A19", recipe{fails: failsFormat, source: rfcCBOR}, []recipe{
		{id: "cut-after-array-head", title: "cut off after the head of the array", forge: at(1)},
		{id: "cut-in-protected", title: "cut off within the protected header", forge: at(3)},
		{id: "cut-after-protected", title: "cut off after the protected header", forge: at(6)},
		{id: "cut-after-unprotected", title: "cut off after the unprotected header", forge: at(7)},
		{id: "cut-in-payload-head", title: "cut off within the head of the payload", forge: at(8)},
		{id: "cut-after-payload-head", title: "cut off after the head of the payload", forge: at(10)},
		{id: "cut-in-payload", title: "cut off within the payload", forge: at(1000)},
		{id: "cut-before-end-of-payload", title: "cut off a byte before the end of the payload", forge: before(99)},
		{id: "cut-after-payload", title: "cut off after the payload", forge: before(98)},
		{id: "cut-in-signature-head", title: "cut off within the head of the signature", forge: before(97)},
		{id: "cut-after-signature-head", title: "cut off after the head of the signature", forge: before(96)},
		{id: "cut-in-signature", title: "cut off after r", forge: before(48)},
		{id: "cut-by-a-byte", title: "cut off a byte before the end", forge: before(1)},
	})
	for _, form := range []string{"indefinite", "definite"} {
		for n, key := range payloadKeys {
			k.add("A19", recipe{
				id:    "payload-" + form + "-cut-before-" + strings.ReplaceAll(key, "_", "-"),
				title: "signed payload, " + form + ", that ends before " + key,
				fails: failsFormat, source: rfcCBOR,
				forge: func(d *draft) {
					d.tail = nil
					if form == "definite" {
						d.head = []byte{0xa9}
					}
					d.fields = d.fields[:n]
				},
			})
		}
	}
	for _, key := range payloadKeys {
		k.add("A19", recipe{
			id: "payload-cut-in-" + strings.ReplaceAll(key, "_", "-"), title: "signed payload that ends within " + key,
			fails: failsFormat, source: rfcCBOR,
			forge: func(d *draft) {
				d.body = func(payload []byte) []byte {
					start := bytes.Index(payload, tstr(key)) + len(tstr(key))
					return payload[:start+6]
				}
			},
		})
	}
}

var payloadKeys = []string{
	keyModuleID, keyDigest, keyTimestamp, keyPCRs, keyCertificate, keyCABundle, keyPublicKey, keyUserData, keyNonce,
}
