package vectors

import (
	"strings"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

// fieldTypes are the major types of the values.
var fieldTypes = map[string]byte{
	keyModuleID: majorText, keyDigest: majorText, keyTimestamp: majorUint, keyPCRs: majorMap,
	keyCertificate: majorBytes, keyCABundle: majorArray,
	keyPublicKey: majorBytes, keyUserData: majorBytes, keyNonce: majorBytes,
}

// fieldSyntax is A22: every field missing, null, empty, of another type, twice.
func fieldSyntax(k *kitchen) {
	types := []struct {
		name  string
		title string
		major byte
		item  []byte
	}{
		{"number", "a number", majorUint, []byte{0x18, 0x2a}},
		{"negative", "a negative number", 1, []byte{0x20}},
		{"byte-string", "a byte string", majorBytes, bstr([]byte("nitrolab"))},
		{"text", "text", majorText, tstr("nitrolab")},
		{"array", "an array of numbers", majorArray, []byte{0x83, 1, 2, 3}},
		{"map", "a map", majorMap, mapOf(pair{[]byte{0}, bstr(make([]byte, 48))})},
		{"true", "true", 7, []byte{0xf5}},
		{"undefined", "undefined", 7, cborUndefined},
		{"float", "a float", 7, []byte{0xf9, 0x3c, 0x00}},
	}
	for _, key := range payloadKeys {
		name := strings.ReplaceAll(key, "_", "-")
		major := fieldTypes[key]
		optional := key == keyPublicKey || key == keyUserData || key == keyNonce
		set := func(item []byte) func(*draft) { return func(d *draft) { d.set(key, item) } }
		all := recipe{fails: failsFormat, source: specContent}
		if !optional {
			k.cook("A22", all, []recipe{
				{id: "no-" + name, title: key + " is missing", forge: drops(key), source: specFields},
				{id: "no-" + name + "-definite", title: key + " is missing, in a definite map", forge: func(d *draft) { d.definite(); d.drop(key) }, source: specFields},
				{id: name + "-null", title: key + " is null", forge: nulls(key), source: specFields},
			})
		}
		for _, of := range types {
			if of.major == major {
				continue
			}
			k.cook("A22", all, []recipe{{id: name + "-" + of.name, title: key + " is " + of.title, forge: set(of.item)}})
		}
		k.cook("A22", all, []recipe{
			{id: name + "-twice", title: key + " twice with the same value", forge: func(d *draft) { d.twice(key, nil, false) }, source: rfcCBORMap},
			{id: name + "-tagged", title: key + " with a tag that nobody knows", forge: func(d *draft) {
				value := d.value(key)
				d.set(key, append([]byte{0xd9, 0x10, 0x00}, value...))
			}, level: Strict, source: specDocument},
		})
		if optional {
			k.cook("A22", all, []recipe{
				{id: name + "-twice-other-last", title: key + " twice, the second with another value", forge: func(d *draft) { d.twice(key, bstr([]byte("other")), false) }, source: rfcCBORMap},
				{id: name + "-twice-other-first", title: key + " twice, the first with another value", forge: func(d *draft) { d.twice(key, bstr([]byte("other")), true) }, source: rfcCBORMap},
				{id: name + "-null-and-value", title: key + " twice, null and a value", forge: func(d *draft) { d.twice(key, cborNull, true) }, source: rfcCBORMap},
				{id: name + "-in-chunks", title: key + " a byte string of indefinite length", forge: set(join([]byte{0x5f}, bstr([]byte("nitro")), bstr([]byte("lab")), []byte{cborBreak})), level: Strict, source: specDocument},
			})
		}
	}
	fieldContents(k)
}

// value is the item of a field, of the chain's too.
func (d *draft) value(key string) []byte {
	if v := d.fields[d.index(key)].value; v != nil {
		return v
	}
	ders := d.certificates()
	if key == keyCertificate {
		return bstr(ders[len(ders)-1])
	}
	return bundleItem(ders[:len(ders)-1])
}

// twice adds a field that is there already: with the same value or another,
// before it or at the end. An optional one makes room, so that there are nine.
func (d *draft) twice(key string, item []byte, first bool) {
	if item == nil {
		item = d.value(key)
	}
	if key == keyPublicKey {
		d.drop(keyUserData)
	} else {
		d.drop(keyPublicKey)
	}
	again := pair{tstr(key), item}
	if first {
		d.fields = append([]pair{again}, d.fields...)
		return
	}
	d.fields = append(d.fields, again)
}

// fieldContents are values of the right type that are not allowed.
func fieldContents(k *kitchen) {
	set := func(key string, item []byte) func(*draft) { return func(d *draft) { d.set(key, item) } }
	sized := func(n int) []byte { return bstr(make([]byte, n)) }
	digest := []string{attestation.CheckDigest}
	long := []string{attestation.CheckFields}
	fakes := func(n int) []byte {
		var out [][]byte
		for range n {
			out = append(out, []byte{0x30, 0x00})
		}
		return bundleItem(out)
	}
	k.cook("A22", recipe{fails: failsFormat, source: specContent}, []recipe{
		{id: "module-id-empty", title: "module_id is empty", forge: set(keyModuleID, tstr(""))},
		{id: "module-id-not-utf-8", title: "module_id is not UTF-8", forge: set(keyModuleID, []byte{0x62, 0xc3, 0x28}), source: rfcCBOR},
		{id: "module-id-in-chunks", title: "module_id is text of indefinite length", forge: set(keyModuleID, join([]byte{0x7f}, tstr("i-0a"), tstr("1b"), []byte{cborBreak})), level: Strict, source: specDocument},
		{id: "module-id-any-text", title: "module_id is no instance id", forge: set(keyModuleID, tstr("nitrolab")), verdict: Either},
		{id: "module-id-4-kib", title: "module_id of 4 KiB", forge: set(keyModuleID, tstr(strings.Repeat("m", 4096))), verdict: Either, level: Strict},
		{id: "module-id-escapes", title: "module_id clears a terminal", forge: set(keyModuleID, tstr("\x1b[2J\r\n\x00")), verdict: Either, level: Strict},
		{id: "module-id-of-another-leaf", title: "module_id is not the leaf's", forge: set(keyModuleID, tstr("i-0fedcba9876543210-enc0199ffffffffffff")), verdict: Either},
		{id: "digest-sha256", title: "digest SHA256", forge: set(keyDigest, tstr("SHA256")), fails: digest},
		{id: "digest-sha512", title: "digest SHA512", forge: set(keyDigest, tstr("SHA512")), fails: digest},
		{id: "digest-lower-case", title: "digest sha384", forge: set(keyDigest, tstr("sha384")), fails: digest},
		{id: "digest-hyphen", title: "digest SHA-384", forge: set(keyDigest, tstr("SHA-384")), fails: digest},
		{id: "digest-empty", title: "digest is empty", forge: set(keyDigest, tstr("")), fails: digest},
		{id: "digest-with-space", title: "digest SHA384 and a space", forge: set(keyDigest, tstr("SHA384 ")), fails: digest},
		{id: "digest-with-nul", title: "digest SHA384 and a zero byte", forge: set(keyDigest, tstr("SHA384\x00")), fails: digest},
		{id: "certificate-empty", title: "certificate of no bytes", forge: set(keyCertificate, sized(0))},
		{id: "certificate-1025", title: "leaf certificate of 1025 bytes, good in all else", forge: func(d *draft) { d.padTo(leaf, 1025) }},
		{id: "certificate-4-kib", title: "leaf certificate of 4 KiB, good in all else", forge: func(d *draft) { d.padTo(leaf, 4096) }},
		{id: "cabundle-empty", title: "cabundle without a certificate", forge: set(keyCABundle, []byte{0x80})},
		{id: "cabundle-entry-empty", title: "cabundle with an entry of no bytes", forge: func(d *draft) {
			d.bundle = func(b [][]byte) [][]byte { return append(b, nil) }
		}},
		{id: "cabundle-entry-1025", title: "instance certificate of 1025 bytes, good in all else", forge: func(d *draft) { d.padTo(instance, 1025) }},
		{id: "cabundle-entry-text", title: "cabundle with an entry in text", forge: set(keyCABundle, array(tstr("certificate")))},
		{id: "cabundle-entry-null", title: "cabundle with an entry of null", forge: func(d *draft) {
			bundle := d.value(keyCABundle)
			d.set(keyCABundle, join([]byte{0x85}, bundle[1:], cborNull))
		}},
		{id: "cabundle-entry-tagged", title: "cabundle with tagged entries", forge: func(d *draft) {
			var items [][]byte
			for _, der := range d.certificates()[:leaf] {
				items = append(items, append([]byte{0xd5}, bstr(der)...))
			}
			d.set(keyCABundle, array(items...))
		}, level: Strict, source: specDocument},
		{id: "cabundle-one-string", title: "cabundle all certificates in one byte string", forge: func(d *draft) {
			d.set(keyCABundle, bstr(join(d.certificates()[:leaf]...)))
		}},
		{id: "cabundle-indefinite", title: "cabundle an array of indefinite length", forge: func(d *draft) {
			bundle := d.value(keyCABundle)
			d.set(keyCABundle, join([]byte{0x9f}, bundle[1:], []byte{cborBreak}))
		}, level: Strict, source: "in genuine documents of both forms everything inside the payload's map is definite"},
		{id: "cabundle-stated-three", title: "cabundle an array of three with four entries", forge: func(d *draft) {
			d.set(keyCABundle, append([]byte{0x83}, d.value(keyCABundle)[1:]...))
		}, source: rfcCBOR},
		{id: "cabundle-nested", title: "cabundle an array in an array", forge: func(d *draft) { d.set(keyCABundle, array(d.value(keyCABundle))) }},
		{id: "cabundle-1000", title: "cabundle of a thousand entries", forge: set(keyCABundle, fakes(1000)), level: Strict, source: "path building must be bounded"},
		{id: "public-key-1025", title: "public_key of 1025 bytes", forge: set(keyPublicKey, sized(1025)), fails: long},
		{id: "user-data-513", title: "user_data of 513 bytes", forge: set(keyUserData, sized(513)), verdict: Either, source: "nsm-api#52: the definition says 1024, the list of checks 512"},
		{id: "user-data-1024", title: "user_data of 1024 bytes", forge: set(keyUserData, sized(1024)), verdict: Either, source: "nsm-api#52: the definition says 1024, the list of checks 512"},
		{id: "user-data-1025", title: "user_data of 1025 bytes", forge: set(keyUserData, sized(1025)), fails: long, level: Strict, wrong: "no text allows it, though hardware signs it"},
		{id: "user-data-4-kib", title: "user_data of 4000 bytes", forge: set(keyUserData, sized(4000)), fails: long, level: Strict, wrong: "no text allows it, though hardware signs it"},
		{id: "nonce-513", title: "nonce of 513 bytes", forge: set(keyNonce, sized(513)), verdict: Either, source: "nsm-api#52: the definition says 1024, the list of checks 512"},
		{id: "nonce-1024", title: "nonce of 1024 bytes", forge: set(keyNonce, sized(1024)), verdict: Either, source: "nsm-api#52: the definition says 1024, the list of checks 512"},
		{id: "nonce-1025", title: "nonce of 1025 bytes", forge: set(keyNonce, sized(1025)), fails: long, level: Strict, wrong: "no text allows it, though hardware signs it"},
	})
	k.cook("A22", recipe{fails: failsFormat, source: specFields}, []recipe{
		{id: "nitrotpm-document", title: "a NitroTPM document: nitrotpm_pcrs instead of pcrs", wrong: "those registers are not an enclave's", forge: func(d *draft) { d.rename(keyPCRs, tstr("nitrotpm_pcrs")) }},
		{id: "nitrotpm-registers-too", title: "nitrotpm_pcrs beside pcrs", level: Strict, forge: func(d *draft) {
			d.drop(keyNonce)
			d.add("nitrotpm_pcrs", pcrItem(dense(24)))
		}},
	})
	k.cook("A22", recipe{verdict: Accept, level: Strict, source: specDocument}, []recipe{
		{id: "fields-in-another-order", title: "the fields in reverse order", forge: func(d *draft) {
			for i, j := 0, len(d.fields)-1; i < j; i, j = i+1, j-1 {
				d.fields[i], d.fields[j] = d.fields[j], d.fields[i]
			}
		}},
		{id: "fields-sorted", title: "the fields in the order of deterministic CBOR", forge: func(d *draft) {
			d.definite()
			sortFields(d.fields)
		}},
	})
}
