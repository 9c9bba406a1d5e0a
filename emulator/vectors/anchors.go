package vectors

import (
	"bytes"
	"slices"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

var failsChain = []string{attestation.CheckChain}

// of replaces the draft by one of another PKI.
func (d *draft) of(w world) { *d = *newDraft(w, d.made) }

func rootOf(w world) []byte { return w.chain()[root].encode(w.keys, nil) }

// below puts the root of another PKI in place of the draft's own, and its key
// identifier into the certificate below: everything fits but the signature.
func (d *draft) below(w world, pinned []byte) {
	d.bundle = func(b [][]byte) [][]byte { return append([][]byte{pinned}, b[1:]...) }
	d.chain[regional].find(idAuthorityKey).value = authorityKeyID(keyID(w.chain()[root].key)).value
}

// trustAnchors are A1: documents that bring their own trust along. Every one of
// them verifies up to something that is not the pinned root.
func trustAnchors(k *kitchen) {
	attacker := k.worldOf("attacker")
	likeAWS := attacker
	likeAWS.names = awsNames
	hostRoot := rootOf(k.host)
	bundle := func(w world, change func([][]byte) [][]byte) func(*draft) {
		return func(d *draft) {
			d.of(w)
			d.bundle = change
		}
	}
	k.cook("A1", recipe{fails: failsChain, source: "QOS attestation_verification.md: never trust cabundle[0]"}, []recipe{
		{id: "aws-names", title: "self-made root with exactly AWS's names", forge: func(d *draft) { d.of(likeAWS) }, wrong: "the root in cabundle is the attacker's, and a verifier that trusts cabundle[0] accepts anything"},
		{id: "same-names", title: "self-made root with the pinned root's names", forge: func(d *draft) { d.of(attacker) }},
		{id: "same-names-and-key-identifiers", title: "self-made root with the pinned root's names, serial number and key identifier", forge: func(d *draft) {
			d.of(attacker)
			genuine := k.host.chain()[root]
			forged := d.chain[root]
			forged.serial = genuine.serial
			forged.find(idSubjectKey).value = genuine.find(idSubjectKey).value
			d.chain[regional].find(idAuthorityKey).value = authorityKeyID(keyID(genuine.key)).value
		}},
		{id: "pinned-root-first", title: "the pinned root in front of an attacker's chain, in place of its root", forge: func(d *draft) {
			d.of(attacker)
			d.below(k.host, hostRoot)
		}, wrong: "the regional certificate is not the pinned root's"},
		{id: "pinned-root-before-forged-root", title: "the pinned root in front of an attacker's whole chain", forge: bundle(attacker, func(b [][]byte) [][]byte { return append([][]byte{hostRoot}, b...) })},
		{id: "pinned-root-last", title: "the pinned root behind an attacker's chain", forge: bundle(attacker, func(b [][]byte) [][]byte { return append(b, hostRoot) })},
		{id: "genuine-bundle-forged-leaf", title: "genuine cabundle, leaf signed by the attacker's instance key under the genuine name", forge: func(d *draft) {
			d.chain[leaf].key = k.p384("attacker leaf")
			d.chain[leaf].signer = k.p384("attacker instance")
		}},
		{id: "genuine-bundle-self-signed-leaf", title: "genuine cabundle, leaf that signs itself under the genuine issuer's name", forge: func(d *draft) {
			d.chain[leaf].key = k.p384("attacker leaf")
			d.chain[leaf].signer = d.chain[leaf].key
		}},
		{id: "genuine-chain-other-key", title: "genuine certificates, document signed by another key", forge: func(d *draft) {
			d.sign = func(m []byte) []byte { return d.es384(k.p384("attacker leaf"), m) }
		}, fails: []string{attestation.CheckSignature}},
		{id: "self-signed-leaf-alone", title: "a leaf that signs itself, and is the only certificate in cabundle", forge: func(d *draft) {
			d.of(attacker)
			d.chain = d.chain[leaf:]
			d.chain[0].issuer = d.chain[0].subject
			only := d.chain[0].encode(k.keyring, nil)
			d.bundle = func([][]byte) [][]byte { return [][]byte{only} }
		}},
		{id: "forged-root-alone", title: "a leaf issued by the attacker's root directly", forge: func(d *draft) {
			d.of(attacker)
			d.chain = []*certificate{d.chain[root], d.chain[leaf]}
		}},
		{id: "explicit-curve-parameters", title: "a root with the pinned root's public key on a curve whose generator is that key", forge: func(d *draft) {
			victim := d.chain[root].key
			d.of(attacker)
			forged := k.host.chain()[root]
			forged.spki = explicitCurveKey(point(victim), point(victim))
			forged.sign = func(tbs []byte) []byte { return k.signWithGenerator(k.p384("host root"), tbs) }
			d.chain[root] = forged
			d.chain[regional].sign = forged.sign
		}, source: "CVE-2020-0601", wrong: "the private key is 1 on that curve: a verifier that compares public keys alone takes the root for the pinned one"},
		{id: "explicit-curve-parameters-below", title: "a regional certificate signed on a curve whose generator is the pinned root's key, under the pinned root", forge: func(d *draft) {
			d.of(attacker)
			d.below(k.host, hostRoot)
			d.chain[regional].sign = func(tbs []byte) []byte { return k.signWithGenerator(k.p384("host root"), tbs) }
		}, source: "CVE-2020-0601"},
		{id: "pinned-key-in-another-root", title: "the pinned root's key in another self-signed certificate", forge: func(d *draft) {
			d.chain[root].serial = unsigned([]byte{1})
		}, level: Strict, wrong: "cabundle[0] is not the pinned root, though its key is", source: specOrder},
		{id: "leaf-issues-leaf", title: "a leaf signed by an enclave's leaf", forge: func(d *draft) {
			own := *d.chain[leaf]
			own.extensions = slices.Clone(own.extensions)
			own.key = k.p384("attacker leaf")
			d.chain = append(d.chain, &own)
		}, source: rfcPath + " (CVE-2002-0862)", wrong: "an end-entity certificate is used as a CA"},
		{id: "leaf-issues-leaf-outside-bundle", title: "a leaf signed by a genuine leaf that cabundle does not hold", forge: func(d *draft) {
			d.chain[leaf].signer = k.p384("host leaf")
			d.chain[leaf].issuer = d.chain[leaf].subject
			d.chain[leaf].key = k.p384("attacker leaf")
		}},
	})
}

// explicitCurveKey is a SubjectPublicKeyInfo with SpecifiedECDomain (RFC 3279
// section 2.3.5) instead of a named curve: P-384 with another generator.
func explicitCurveKey(public, generator []byte) []byte {
	c := p384.Params()
	three := bytes.Clone(c.P.Bytes())
	three[len(three)-1] -= 3 // a is p minus 3, and p ends in ffffffff
	curve := sequence(octets(three), octets(c.B.FillBytes(make([]byte, 48))))
	params := sequence([]byte{0x02, 0x01, 0x01},
		sequence(oid(1, 2, 840, 10045, 1, 1), integer(c.P)),
		curve, octets(generator), integer(c.N), []byte{0x02, 0x01, 0x01})
	return sequence(sequence(oid(1, 2, 840, 10045, 2, 1), params), bitString(public))
}

// bundleOrder is A2. The pinned root is in the chain everywhere, and only order
// and number of certificates are wrong.
func bundleOrder(k *kitchen) {
	order := func(places ...int) func(*draft) {
		return func(d *draft) {
			all := d.certificates()
			d.bundle = func([][]byte) [][]byte {
				var out [][]byte
				for _, place := range places {
					out = append(out, all[place])
				}
				return out
			}
		}
	}
	stray := rootOf(k.worldOf(rootOther))
	with := func(at int) func(*draft) {
		return func(d *draft) {
			d.bundle = func(b [][]byte) [][]byte { return slices.Insert(b, at, stray) }
		}
	}
	k.cook("A2", recipe{level: Strict, fails: failsChain, source: specOrder}, []recipe{
		{id: "root-last", title: "cabundle from instance to root", forge: order(3, 2, 1, 0), source: "world-chain#956", wrong: "the root comes last, and the order of cabundle is fixed"},
		{id: "root-second", title: "root and regional certificate swapped", forge: order(1, 0, 2, 3)},
		{id: "regional-after-zonal", title: "regional and zonal certificate swapped", forge: order(0, 2, 1, 3)},
		{id: "zonal-after-instance", title: "zonal and instance certificate swapped", forge: order(0, 1, 3, 2)},
		{id: "rotated", title: "root moved to the end", forge: order(1, 2, 3, 0)},
		{id: "no-root", title: "cabundle without the root", forge: order(1, 2, 3)},
		{id: "root-twice", title: "root twice", forge: order(0, 0, 1, 2, 3)},
		{id: "root-first-and-last", title: "root first and last", forge: order(0, 1, 2, 3, 0)},
		{id: "regional-twice", title: "regional certificate twice", forge: order(0, 1, 1, 2, 3)},
		{id: "zonal-twice", title: "zonal certificate twice", forge: order(0, 1, 2, 2, 3)},
		{id: "instance-twice", title: "instance certificate twice", forge: order(0, 1, 2, 3, 3)},
		{id: "leaf-in-bundle", title: "leaf at the end of cabundle too", forge: order(0, 1, 2, 3, 4)},
		{id: "stray-first", title: "an unrelated root in front", forge: with(0)},
		{id: "stray-between", title: "an unrelated root in the middle", forge: with(2)},
		{id: "stray-last", title: "an unrelated root at the end", forge: with(4)},
		{id: "no-regional", title: "no regional certificate", forge: order(0, 2, 3), level: Must, source: rfcPath},
		{id: "no-zonal", title: "no zonal certificate", forge: order(0, 1, 3), level: Must, source: rfcPath},
		{id: "no-instance", title: "no instance certificate", forge: order(0, 1, 2), level: Must, source: rfcPath},
		{id: "root-alone", title: "the root and nothing else", forge: order(0), level: Must, source: rfcPath},
		{id: "leaf-below-root", title: "a leaf issued by the root itself", forge: func(d *draft) {
			d.chain = []*certificate{d.chain[root], d.chain[leaf]}
		}, verdict: Either, wrong: "no genuine chain is so short, but it is valid"},
		{id: "leaf-below-regional", title: "a leaf issued by the regional certificate", forge: func(d *draft) {
			d.chain = []*certificate{d.chain[root], d.chain[regional], d.chain[leaf]}
		}, verdict: Either, wrong: "no genuine chain is so short, but it is valid"},
		{id: "one-more-ca-below-root", title: "one more CA between root and regional certificate", forge: func(d *draft) {
			d.chain = slices.Insert(d.chain, regional, extraCA(k, -1))
		}, verdict: Either, wrong: "no genuine chain is so long, but it is valid"},
		{id: "one-more-ca-above-leaf", title: "one more CA below the instance certificate", forge: func(d *draft) {
			d.chain = slices.Insert(d.chain, leaf, extraCA(k, -1))
		}, level: Must, source: specLengths, wrong: "the path lengths of three certificates are exceeded"},
	})
}

// extraCA is a CA that belongs nowhere in a genuine chain.
func extraCA(k *kitchen, pathLen int) *certificate {
	c := k.host.chain()[regional]
	c.subject = name(attribute{commonName, utf8String("nitrolab emulated, not AWS: one more CA")})
	c.key = k.p384("one more CA")
	c.extensions = []extension{constraints(true, pathLen), usage(true, usageCA)}
	return c
}

// otherRoots are A23 and A24: what is pinned is not this host's root, nothing is
// pinned, or there is no document at all.
func otherRoots(k *kitchen) {
	good := func() []byte { return newDraft(k.host, k.reference).document() }
	raw := func(content []byte) func(*draft) {
		return func(d *draft) { d.edit = func([]byte) []byte { return content } }
	}
	format := []string{attestation.CheckFormat}
	k.cook("A23", recipe{fails: failsChain, source: "calimero core#3269"}, []recipe{
		{id: "emulated-document", title: "a document of one emulated host offered to a verifier of another", roots: []string{rootOther}, wrong: "the document's root is not the pinned one"},
		{id: "emulated-document-definite-map", title: "the same, in a map of nine", forge: (*draft).definite, roots: []string{rootOther}},
		{id: "pinned-root-added", title: "the same, with the pinned root added in front", forge: func(d *draft) {
			pinned := rootOf(k.worldOf(rootOther))
			d.bundle = func(b [][]byte) [][]byte { return append([][]byte{pinned}, b...) }
		}, roots: []string{rootOther}},
		{id: "pinned-root-in-place", title: "the same, with the pinned root in place of its own", forge: func(d *draft) {
			other := k.worldOf(rootOther)
			d.below(other, rootOf(other))
		}, roots: []string{rootOther}},
	})

	k.cook("A24", recipe{fails: format, source: "keep#717: fail closed"}, []recipe{
		{id: "no-root", title: "a good document, and no root is pinned", roots: []string{}, fails: []string{CallRefused}, wrong: "without a root nothing can be trusted"},
		{id: "no-root-forged-document", title: "a forged document, and no root is pinned", forge: func(d *draft) { d.of(k.worldOf("attacker")) }, roots: []string{}, fails: []string{CallRefused}},
		{id: "no-document", title: "no document: not one byte", forge: raw(nil)},
		{id: "one-byte", title: "one zero byte", forge: raw([]byte{0})},
		{id: "random", title: "4 KiB of random bytes", forge: raw(k.bytes("noise", 4096))},
		{id: "zeros", title: "4 KiB of zero bytes", forge: raw(make([]byte, 4096))},
		{id: "ones", title: "4 KiB of ff", forge: raw(bytes.Repeat([]byte{0xff}, 4096))},
		{id: "text", title: "the word true", forge: raw([]byte("true\n"))},
		{id: "json", title: "the fields of a good document in JSON, unsigned", forge: raw(jsonDocument(k))},
		{id: "payload-alone", title: "the payload of a good document without COSE", forge: func(d *draft) {
			payload := d.payload()
			d.edit = func([]byte) []byte { return payload }
		}},
		{id: "payload-in-place-of-signature", title: "a COSE_Sign1 of nothing but nulls", forge: raw([]byte{0x84, 0xf6, 0xf6, 0xf6, 0xf6})},
		{id: "empty-elements", title: "a COSE_Sign1 of empty elements", forge: raw([]byte{0x84, 0x40, 0xa0, 0x40, 0x40})},
		{id: "root-certificate", title: "the root certificate instead of a document", forge: raw(k.host.chain()[root].encode(k.keyring, nil))},
		{id: "base64", title: "a good document in base64", forge: raw(base64Of(good())), level: Strict, wrong: "it is not the raw document"},
		{id: "hex", title: "a good document in hex digits", forge: raw(hexOf(good())), level: Strict, wrong: "it is not the raw document"},
		{id: "byte-string", title: "a good document in a CBOR byte string, as the NSM's response carries it", forge: raw(bstr(good())), level: Strict, wrong: "it is not the raw document"},
		{id: "nsm-response", title: "a whole response of the NSM", forge: raw(mapOf(pair{tstr("Attestation"), mapOf(pair{tstr("document"), bstr(good())})})), level: Strict, wrong: "it is not the raw document"},
	})
}
