package vectors

import (
	"bytes"
	"fmt"
	"strings"
)

// payloadMaps are the rest of A19: the signed map, its keys and its nesting.
func payloadMaps(k *kitchen) {
	body := func(change func(payload []byte) []byte) func(*draft) { return func(d *draft) { d.body = change } }
	always := func(content ...byte) func(*draft) { return body(func([]byte) []byte { return content }) }
	nonce := func(item ...byte) func(*draft) { return func(d *draft) { d.set(keyNonce, item) } }
	rename := func(to []byte) func(*draft) { return func(d *draft) { d.rename(keyNonce, to) } }
	shape := func(head, tail []byte) func(*draft) { return func(d *draft) { d.head, d.tail = head, tail } }
	k.cook("A19", recipe{fails: failsFormat, source: specDocument}, []recipe{
		{id: "payload-empty", title: "payload of no bytes", forge: always(), source: specCOSE},
		{id: "payload-too-long", title: "payload of more than 16384 bytes", forge: nonce(bstr(make([]byte, 14<<10))...), source: specCOSE},
		{id: "payload-empty-map", title: "payload an empty map", forge: always(0xa0)},
		{id: "payload-empty-indefinite-map", title: "payload an empty map of indefinite length", forge: always(0xbf, 0xff)},
		{id: "payload-array", title: "payload an array of keys and values", forge: shape([]byte{0x92}, nil)},
		{id: "payload-null-inside", title: "payload of null", forge: always(0xf6)},
		{id: "payload-self-described", title: "payload with the tag of self-described CBOR", forge: body(func(b []byte) []byte { return append([]byte{0xd9, 0xd9, 0xf7}, b...) }), level: Strict},
		{id: "payload-tail", title: "a byte after the payload's map", forge: body(func(b []byte) []byte { return append(b, 0) }), level: Strict},
		{id: "payload-second-break", title: "a second break after the payload's map", forge: body(func(b []byte) []byte { return append(b, cborBreak) }), level: Strict},
		{id: "payload-second-map", title: "a second map after the payload's", forge: body(func(b []byte) []byte { return append(b, b...) }), level: Strict},
		{id: "payload-eight-stated", title: "a map of eight with nine entries", forge: shape([]byte{0xa8}, nil), source: rfcCBOR},
		{id: "payload-ten-stated", title: "a map of ten with nine entries", forge: shape([]byte{0xaa}, nil), source: rfcCBOR},
		{id: "payload-no-break", title: "a map of indefinite length without its end", forge: shape([]byte{0xbf}, nil), source: rfcCBOR},
		{id: "payload-odd", title: "a map of indefinite length that ends after a key", forge: func(d *draft) { d.drop(keyNonce); d.tail = append(tstr(keyNonce), cborBreak) }, source: rfcCBOR},
		{id: "payload-break-in-definite", title: "a break within a definite map", forge: func(d *draft) { d.definite(); d.head = []byte{0xa9}; d.rename(keyNonce, []byte{cborBreak}) }, source: rfcCBOR},
		{id: "payload-break-as-value", title: "a break instead of a value", forge: nonce(cborBreak), source: rfcCBOR},
		{id: "payload-huge-map", title: "a map of 2^64-1 entries", forge: shape([]byte{0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, nil), source: rfcCBOR},
		{id: "payload-2-to-31-entries", title: "a map of 2^31 entries", forge: shape([]byte{0xba, 0x80, 0, 0, 0}, nil), source: rfcCBOR},
		{id: "payload-reserved-head", title: "a map with the reserved head bc", forge: shape([]byte{0xbc}, nil), source: rfcCBOR},
		{id: "payload-head-cut", title: "the head of a map, cut off", forge: always(0xba, 0, 0), source: rfcCBOR},
		{id: "payload-nested", title: "the fields in a map within the map", forge: body(func(b []byte) []byte { return mapOf(pair{tstr("document"), b}) })},

		{id: "unknown-key", title: "a tenth key", forge: func(d *draft) { d.add("extra", cborNull) }, level: Strict, source: specFields},
		{id: "unknown-key-instead-of-nonce", title: "an unknown key instead of nonce", forge: rename(tstr("nonsense")), level: Strict, source: specFields},
		{id: "empty-key", title: "an empty key", forge: rename(tstr("")), level: Strict, source: specFields},
		{id: "key-in-capitals", title: `"NONCE" instead of "nonce"`, forge: rename(tstr("NONCE")), level: Strict, source: specFields},
		{id: "key-with-nul", title: `"nonce" and a zero byte`, forge: rename(tstr("nonce\x00")), level: Strict, source: specFields},
		{id: "key-with-escape", title: "a key that clears a terminal", forge: rename(tstr("\x1b[2J")), level: Strict, source: specFields},
		{id: "key-not-utf-8", title: "a key that is not UTF-8", forge: rename([]byte{0x61, 0xff}), source: rfcCBOR},
		{id: "key-in-chunks", title: "a key of indefinite length", forge: rename(join([]byte{0x7f}, tstr("non"), tstr("ce"), []byte{cborBreak})), level: Strict},
		{id: "key-byte-string", title: "a key in a byte string", forge: rename(bstr([]byte(keyNonce)))},
		{id: "key-number", title: "a key that is a number", forge: rename([]byte{0x09})},
		{id: "key-array", title: "a key that is an array", forge: rename([]byte{0x80})},
		{id: "key-null", title: "a key that is null", forge: rename(cborNull)},
		{id: "key-of-4-kib", title: "a key of 4 KiB", forge: rename(tstr(strings.Repeat("k", 4096))), level: Strict, source: specFields},
		{id: "pcrs-in-capitals-too", title: `"PCRs" beside "pcrs", with other values`, forge: func(d *draft) {
			d.drop(keyNonce)
			d.add("PCRs", pcrItem(dense(16)))
		}, level: Strict, source: "decoders that match names without regard to case"},
		{id: "pcrs-in-capitals-alone", title: `"PCRs" instead of "pcrs"`, forge: func(d *draft) { d.rename(keyPCRs, tstr("PCRs")) }, source: specFields},

		{id: "nested-arrays", title: "nonce of 5000 arrays within each other", forge: nonce(append(bytes.Repeat([]byte{0x81}, 5000), 0)...), source: "Cantina review of base/nitro-validator 2026, 3.2.4"},
		{id: "nested-maps", title: "nonce of 5000 maps within each other", forge: nonce(append(bytes.Repeat([]byte{0xa1, 0x00}, 5000), 0)...), source: "Cantina review of base/nitro-validator 2026, 3.2.4"},
		{id: "nested-tags", title: "nonce under 5000 tags", forge: nonce(append(bytes.Repeat([]byte{0xc1}, 5000), 0)...)},
		{id: "nested-indefinite-arrays", title: "nonce of 5000 arrays of indefinite length", forge: nonce(append(bytes.Repeat([]byte{0x9f}, 5000), bytes.Repeat([]byte{0xff}, 5000)...)...)},
		{id: "nested-in-pcrs", title: "registers of 5000 maps within each other", forge: func(d *draft) { d.set(keyPCRs, append(bytes.Repeat([]byte{0xa1, 0x00}, 5000), 0)) }},
		{id: "nested-document", title: "100000 arrays within each other, and nothing else", forge: edit(func([]byte) []byte { return bytes.Repeat([]byte{0x81}, 100_000) })},
		{id: "nested-indefinite-document", title: "100000 arrays of indefinite length within each other", forge: edit(func([]byte) []byte { return bytes.Repeat([]byte{0x9f}, 100_000) })},
		{id: "nested-tagged-document", title: "100000 times tag 18", forge: edit(func([]byte) []byte { return bytes.Repeat([]byte{0xd2}, 100_000) })},
		{id: "nested-unprotected", title: "unprotected header of 5000 maps within each other", forge: unprotected(append(bytes.Repeat([]byte{0xa1, 0x00}, 5000), 0)...)},
		{id: "half-a-megabyte", title: "a payload of 512 KiB", forge: nonce(bstr(make([]byte, 512<<10))...), source: specCOSE},

		{id: "huge-byte-string", title: "nonce of 2^63-1 bytes, as it says", forge: nonce(0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), source: rfcCBOR},
		{id: "huge-byte-string-64-bits", title: "nonce of 2^64-1 bytes, as it says", forge: nonce(0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), source: rfcCBOR},
		{id: "4-gib-byte-string", title: "nonce of 4 GiB, as it says", forge: nonce(0x5a, 0xff, 0xff, 0xff, 0xff), source: rfcCBOR},
		{id: "huge-text", title: "module_id of 2^63-1 bytes, as it says", forge: func(d *draft) {
			d.set(keyModuleID, []byte{0x7b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		}, source: rfcCBOR},
		{id: "huge-array", title: "cabundle of 2^63-1 certificates, as it says", forge: func(d *draft) {
			d.set(keyCABundle, []byte{0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		}, source: rfcCBOR},
		{id: "huge-pcrs", title: "2^63-1 registers, as it says", forge: func(d *draft) {
			d.set(keyPCRs, []byte{0xbb, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		}, source: rfcCBOR},
		{id: "huge-payload", title: "a payload of 2^63-1 bytes, as it says", forge: item(itemPayload, func(b []byte) []byte {
			return append([]byte{0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, b[3:]...)
		}), source: rfcCBOR},
		{id: "reserved-head-1c", title: "a nonce with the reserved head 5c", forge: nonce(0x5c), source: rfcCBOR},
		{id: "reserved-head-1e", title: "a nonce with the reserved head 5e", forge: nonce(0x5e), source: rfcCBOR},
		{id: "reserved-simple", title: "a nonce of the two-byte form of false", forge: nonce(0xf8, 0x14), source: "RFC 8949 section 3.3"},
	})
	for width := 1; width <= 4; width++ {
		k.add("A19", recipe{
			id: fmt.Sprintf("payload-map-head-of-%d", 1+1<<(width-1)), title: fmt.Sprintf("head of the payload's map in %d bytes", 1+1<<(width-1)),
			forge:   shape(headOf(majorMap, 9, width), nil),
			verdict: Either, level: Strict, source: rfcCBOR,
		})
	}
	lengthForms(k)
}

// lengthForms write keys, and strings in values, with heads longer than they
// need. CBOR allows it and no genuine document has it.
func lengthForms(k *kitchen) {
	widen := func(item []byte) []byte {
		short := item[0] & 0x1f
		switch {
		case short < 24:
			return join(headOf(item[0]>>5, uint64(short), 1), item[1:])
		case short == 24:
			return join(headOf(item[0]>>5, uint64(item[1]), 2), item[2:])
		}
		broken("no longer form of an item that begins with %x", item[0])
		return nil
	}
	for _, key := range payloadKeys {
		name := strings.ReplaceAll(key, "_", "-")
		k.add("A19", recipe{
			id: "long-head-of-key-" + name, title: "the key " + key + " with a longer head",
			forge:   func(d *draft) { d.rename(key, widen(tstr(key))) },
			verdict: Either, level: Strict, source: rfcCBOR,
		})
		if key == keyTimestamp || key == keyCertificate || key == keyCABundle {
			continue // their heads are not as short as can be, or long already
		}
		k.add("A19", recipe{
			id: "long-head-of-" + name, title: "the value of " + key + " with a longer head",
			forge:   func(d *draft) { i := d.index(key); d.fields[i].value = widen(d.fields[i].value) },
			verdict: Either, level: Strict, source: rfcCBOR,
		})
	}
}
