package vectors

import (
	"fmt"
	"time"
)

// goodDocuments are documents in every legal shape: a verifier that refuses
// everything fails here.
func goodDocuments(k *kitchen) {
	leafAge := func(age time.Duration) func(*draft) {
		return func(d *draft) {
			w := k.host
			w.issued = k.reference.Add(-age)
			*d = *newDraft(w, k.reference)
		}
	}
	k.cook("good", recipe{verdict: Accept, source: specDocument}, []recipe{
		{id: "indefinite-map", title: "payload as a map of indefinite length, as hardware writes it since mid-2025", source: "base/nitro-validator#23"},
		{id: "definite-map", title: "payload as a map of nine, as hardware wrote it from 2021 to early 2025", forge: (*draft).definite},
		{id: "tag-18", title: "COSE_Sign1 with its tag 18, which AWS's text draws", forge: func(d *draft) { d.prefix = []byte{0xd2} }, twin: "good-indefinite-map", source: specCOSE},
		{id: "tag-18-definite-map", title: "tag 18 and a map of nine", forge: func(d *draft) { d.definite(); d.prefix = []byte{0xd2} }, twin: "good-definite-map", source: specCOSE},
		{id: "no-optional-fields", title: "public_key, user_data and nonce null", forge: nulls(keyPublicKey, keyUserData, keyNonce)},
		{id: "no-optional-fields-definite", title: "public_key, user_data and nonce null, in a map of nine", forge: func(d *draft) {
			nulls(keyPublicKey, keyUserData, keyNonce)(d)
			d.definite()
		}},
		{id: "absent-optional-fields", title: "public_key, user_data and nonce left out", forge: drops(keyPublicKey, keyUserData, keyNonce), source: specFields},
		{id: "absent-optional-fields-definite", title: "public_key, user_data and nonce left out of a definite map of six", forge: func(d *draft) {
			drops(keyPublicKey, keyUserData, keyNonce)(d)
			d.definite()
		}, source: specFields},
		{id: "public-key-alone", title: "public_key set, user_data and nonce null", forge: nulls(keyUserData, keyNonce)},
		{id: "user-data-alone", title: "user_data set, public_key and nonce null", forge: nulls(keyPublicKey, keyNonce)},
		{id: "nonce-alone", title: "nonce set, public_key and user_data null", forge: nulls(keyPublicKey, keyUserData)},
		{id: "absent-nonce", title: "nonce left out, public_key and user_data set", forge: drops(keyNonce), source: specFields},
		{id: "empty-user-data-and-nonce", title: "user_data and nonce of no bytes", forge: fields(map[string][]byte{keyUserData: {}, keyNonce: {}}), source: specContent},
		{id: "user-data-and-nonce-of-512", title: "user_data and nonce of 512 bytes, the greatest length that both texts allow", forge: fields(map[string][]byte{
			keyUserData: k.bytes("512 of user data", 512), keyNonce: k.bytes("512 of nonce", 512),
		}), source: specContent},
		{id: "public-key-of-1024", title: "public_key of 1024 bytes", forge: fields(map[string][]byte{keyPublicKey: k.bytes("1024 of key", 1024)}), source: specContent},
		{id: "public-key-of-one", title: "public_key of one byte", forge: fields(map[string][]byte{keyPublicKey: {1}}), source: specContent},
		{id: "fields-that-look-like-cbor", title: "user_data and nonce that are CBOR themselves", forge: fields(map[string][]byte{
			keyUserData: mapOf(pair{tstr(keyPCRs), cborNull}), keyNonce: {cborBreak, cborBreak},
		})},

		{id: "expected-fields", title: "public_key, user_data and nonce as expected", tell: func(c *Case) {
			c.PublicKey, c.UserData, c.Nonce = goodPublicKey(k.keyring), goodUserData(k.keyring), goodNonce(k.keyring)
		}},
		{id: "expected-empty-nonce", title: "an empty nonce as expected", forge: fields(map[string][]byte{keyNonce: {}}), tell: func(c *Case) { c.Nonce = Hex{} }},
		{id: "expected-pcr0-alone", title: "a policy of PCR0 alone, which matches", tell: func(c *Case) { c.PCRs = k.expectPCRs(0) }},
		{id: "expected-pcr0-to-pcr4", title: "PCR0 to PCR4 as expected", tell: func(c *Case) { c.PCRs = k.expectPCRs(0, 1, 2, 3, 4) }},
		{id: "expected-zero-pcr8", title: "PCR8 zero as expected: the image is not signed", tell: func(c *Case) { c.PCRs = k.expectPCRs(0, 1, 2, 8) }},
		{id: "two-roots", title: "two roots pinned, the document's is the second", roots: []string{rootOther, rootHost}, level: Strict},
		{id: "fresh", title: "four minutes old, five are allowed", forge: older(4 * time.Minute), tell: maxAge(300)},

		{id: "leaf-of-26-minutes", title: "a leaf issued 26 minutes before the document", forge: leafAge(26 * time.Minute), source: "genuine documents share a leaf"},
		{id: "leaf-in-its-last-minute", title: "a leaf that ends a minute after the document was made", forge: leafAge(3*time.Hour - time.Minute)},
		{id: "profile-2021", title: "certificates as in 2021 and 2022: no key identifiers in the instance certificate, a leaf of exactly three hours", forge: func(d *draft) {
			w := k.host
			w.profile2021, w.issued = true, k.reference.Add(-time.Minute)
			*d = *newDraft(w, k.reference)
			d.definite()
		}},
		{id: "other-instance", title: "another instance and enclave of the same host", forge: func(d *draft) {
			other := pcr(k.keyring, "another instance")
			pcrs := productionPCRs(k.keyring)
			pcrs[4] = other
			d.setPCRs(pcrs)
			d.set(keyModuleID, tstr("i-0fedcba9876543210-enc0199ffffffffffff"))
		}, level: Strict},
		{id: "chain-without-revocation-lists", title: "no revocation list named in any certificate", forge: func(d *draft) {
			d.chain[regional].drop(idCRLPoints)
			d.chain[zonal].drop(idCRLPoints)
		}, source: specNoCRL, level: Strict},
		{id: "certificate-of-1024", title: "an instance certificate of 1024 bytes, the greatest length", forge: func(d *draft) { d.padTo(instance, 1024) }, source: specContent, level: Strict},
		{id: "leaf-of-1024", title: "a leaf certificate of 1024 bytes, the greatest length", forge: func(d *draft) { d.padTo(leaf, 1024) }, source: specContent, level: Strict},

		{id: "short-r", title: "r of the document's signature begins with a zero byte", forge: zeroByteIn(0), source: "COSE pads r and s, " + rfcECDSA},
		{id: "short-s", title: "s of the document's signature begins with a zero byte", forge: zeroByteIn(48), source: "COSE pads r and s, " + rfcECDSA},
		{id: "short-x", title: "x of the leaf's public key begins with a zero byte", forge: zeroByteInKey(1), source: rfcEC},
		{id: "short-y", title: "y of the leaf's public key begins with a zero byte", forge: zeroByteInKey(49), source: rfcEC},
		{id: "short-r-of-leaf", title: "r of the leaf certificate's signature has a byte less than 48", forge: shortCertificateSignature, source: der},
	})

	for i := 1; i <= 3; i++ {
		k.add("good", recipe{
			id: fmt.Sprintf("leaf-%d", i+1), title: fmt.Sprintf("leaf number %d of the same instance, after rotation", i+1),
			verdict: Accept, source: "leaves are replaced in their last 15 minutes",
			forge: leafAge(time.Duration(i) * 44 * time.Minute),
		})
	}
}

// nulls sets fields to null, drops leaves them out, fields gives them bytes.
func nulls(keys ...string) func(*draft) {
	return func(d *draft) {
		for _, key := range keys {
			d.set(key, cborNull)
		}
	}
}

func drops(keys ...string) func(*draft) {
	return func(d *draft) {
		for _, key := range keys {
			d.drop(key)
		}
	}
}

func fields(values map[string][]byte) func(*draft) {
	return func(d *draft) {
		for key, value := range values {
			d.set(key, bstr(value))
		}
	}
}

// older makes the document, and its chain, some time before.
func older(age time.Duration) func(*draft) {
	return func(d *draft) {
		w := d.world
		w.issued = w.issued.Add(-age)
		*d = *newDraft(w, d.made.Add(-age))
	}
}

func maxAge(seconds int) func(*Case) { return func(c *Case) { c.MaxAgeSeconds = seconds } }

// padTo gives a certificate a size by an extension that nobody needs to know:
// 2.5.29.99 does not exist. Its content is varied too, because a signature in
// DER has 102 to 104 bytes as a rule, by chance.
func (d *draft) padTo(place, size int) {
	c := d.chain[place]
	c.add(extension{id: 99})
	padding := &c.extensions[len(c.extensions)-1]
	for n := size - len(d.certificates()[place]) - 24; n < size; n++ {
		for try := range byte(8) {
			content := make([]byte, n)
			content[0] = try
			padding.value = octets(content)
			if len(d.certificates()[place]) == size {
				return
			}
		}
	}
	broken("no %s certificate of %d bytes", placeNames[place], size)
}

// zeroByteIn tries user data until the signature has a zero byte at an offset,
// which one in 256 has.
func zeroByteIn(offset int) func(*draft) {
	return func(d *draft) {
		for n := range 1 << 14 {
			d.set(keyUserData, bstr(fmt.Appendf(nil, "try %d", n)))
			message := sigStructure(d.protected, d.payload())
			if d.es384(d.key(), message)[offset] == 0 {
				return
			}
		}
		broken("no signature with a zero byte at %d", offset)
	}
}

// zeroByteInKey tries leaf keys until the public point (04, x, y) has a zero
// byte at an offset.
func zeroByteInKey(offset int) func(*draft) {
	return func(d *draft) {
		for n := range 1 << 14 {
			key := d.world.keys.p384(fmt.Sprintf("short leaf %d", n))
			if point(key)[offset] == 0 {
				d.chain[leaf].key = key
				return
			}
		}
		broken("no key with a zero byte at %d", offset)
	}
}

// shortCertificateSignature tries serial numbers of the leaf.
func shortCertificateSignature(d *draft) {
	c := d.chain[leaf]
	for n := range 1 << 14 {
		c.serial = unsigned(fmt.Appendf(nil, "leaf serial %04x", n))
		r, _ := splitDER(d.world.keys.sign(d.chain[instance].key, sha384, c.tbs(d.chain[instance])))
		if len(r.Bytes()) < 48 {
			return
		}
	}
	broken("no leaf with a short r")
}
