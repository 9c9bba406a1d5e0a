package vectors

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"math/big"
	"slices"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

var failsSignature = []string{attestation.CheckSignature}

// signed gives a signature in place of the right one.
func signed(signature []byte) func(*draft) {
	return func(d *draft) { d.sign = func([]byte) []byte { return signature } }
}

// unsigned are A3: every field is as it should be, and the signature is not.
func unsignedDocuments(k *kitchen) {
	order := p384.Params().N
	rs := func(r, s *big.Int) []byte {
		return append(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48))...)
	}
	zero, one := new(big.Int), big.NewInt(1)
	edit := func(change func(signature []byte)) func(*draft) {
		return func(d *draft) {
			d.signed = func(b []byte) []byte { change(b); return b }
		}
	}
	sealed := func(change func(d *draft, structure []byte) []byte) func(*draft) {
		return func(d *draft) {
			d.sealed = func(structure []byte) []byte { return change(d, structure) }
		}
	}
	by := func(key func(*draft) crypto.Signer) func(*draft) {
		return func(d *draft) { d.sign = func(m []byte) []byte { return d.es384(key(d), m) } }
	}
	k.cook("A3", recipe{fails: failsSignature, source: "world-chain#698: verifiers that check no signature"}, []recipe{
		{id: "zeros", title: "signature of 96 zero bytes", forge: signed(make([]byte, 96)), source: "CVE-2022-21449"},
		{id: "qemu", title: "signature and certificate of 64 zero bytes, as QEMU's virtio-nsm writes them", forge: func(d *draft) {
			signed(make([]byte, 64))(d)
			d.definite()
			d.leaf = make([]byte, 64)
		}, source: "QEMU hw/virtio/virtio-nsm.c"},
		{id: "ones", title: "signature of 96 bytes ff", forge: signed(bytes.Repeat([]byte{0xff}, 96))},
		{id: "r-zero", title: "r is zero", forge: edit(func(b []byte) { clear(b[:48]) }), source: "CVE-2022-21449"},
		{id: "s-zero", title: "s is zero", forge: edit(func(b []byte) { clear(b[48:]) }), source: "CVE-2022-21449"},
		{id: "r-and-s-one", title: "r and s are 1", forge: signed(rs(one, one))},
		{id: "r-order-s-order", title: "r and s are the order of the group", forge: signed(rs(order, order)), source: "CVE-2022-21449"},
		{id: "r-order", title: "r is the order of the group", forge: edit(func(b []byte) { copy(b, order.Bytes()) })},
		{id: "r-one-s-zero", title: "r is 1 and s is zero", forge: signed(rs(one, zero))},
		{id: "swapped", title: "s before r", forge: edit(func(b []byte) { copy(b, append(bytes.Clone(b[48:]), b[:48]...)) })},
		{id: "little-endian", title: "r and s from the last byte to the first", forge: edit(func(b []byte) { slices.Reverse(b[:48]); slices.Reverse(b[48:]) })},
		{id: "flip-first-bit", title: "first bit of r flipped", forge: edit(func(b []byte) { b[0] ^= 0x80 })},
		{id: "flip-last-bit-of-r", title: "last bit of r flipped", forge: edit(func(b []byte) { b[47] ^= 1 })},
		{id: "flip-first-bit-of-s", title: "first bit of s flipped", forge: edit(func(b []byte) { b[48] ^= 0x80 })},
		{id: "flip-last-bit", title: "last bit of s flipped", forge: edit(func(b []byte) { b[95] ^= 1 })},
		{id: "of-another-document", title: "signature of another document of the same enclave", forge: func(d *draft) {
			other := newDraft(k.host, k.reference)
			other.set(keyNonce, bstr(k.bytes("another nonce", 32)))
			signed(other.es384(other.key(), sigStructure(other.protected, other.payload())))(d)
		}},

		{id: "by-instance-key", title: "signed by the key of the instance certificate", forge: by(func(d *draft) crypto.Signer { return d.chain[instance].key })},
		{id: "by-root-key", title: "signed by the root's key", forge: by(func(d *draft) crypto.Signer { return d.chain[root].key })},
		{id: "by-public-key", title: "signed by the key that the document carries as public_key", forge: by(func(*draft) crypto.Signer { return k.p384("enclave's own") })},
		{id: "by-earlier-leaf", title: "signed by another leaf of the same enclave", forge: by(func(*draft) crypto.Signer { return k.p384("earlier leaf") })},

		{id: "over-payload-alone", title: "signature over the payload instead of the Sig_structure", forge: sealed(func(d *draft, _ []byte) []byte { return d.payload() }), source: rfcSigned},
		{id: "context-signature", title: `signed with the context "Signature" of COSE_Sign`, forge: sealed(func(d *draft, _ []byte) []byte {
			return array(tstr("Signature"), bstr(d.protected), bstr(nil), bstr(nil), bstr(d.payload()))
		}), source: rfcSigned},
		{id: "context-mac0", title: `signed with the context "MAC0"`, forge: sealed(func(d *draft, _ []byte) []byte {
			return array(tstr("MAC0"), bstr(d.protected), bstr(nil), bstr(d.payload()))
		}), source: rfcSigned},
		{id: "external-data", title: "signed with external data that the verifier does not have", forge: sealed(func(d *draft, _ []byte) []byte {
			return array(tstr("Signature1"), bstr(d.protected), bstr([]byte("external")), bstr(d.payload()))
		}), source: rfcSigned},
		{id: "without-protected", title: "signed with an empty protected header", forge: sealed(func(d *draft, _ []byte) []byte { return sigStructure(nil, d.payload()) }), source: rfcSigned},
		{id: "other-protected", title: "signed with algorithm -7 in the protected header, which says -35", forge: sealed(func(d *draft, _ []byte) []byte {
			return sigStructure([]byte{0xa1, 0x01, 0x26}, d.payload())
		}), source: rfcSigned},
		{id: "over-whole-document", title: "signature over tag, headers and payload as they stand in the document", forge: sealed(func(d *draft, _ []byte) []byte {
			return join([]byte{0xd2}, array(bstr(d.protected), d.unprotected, bstr(d.payload()), bstr(nil)))
		}), source: rfcSigned},
		{id: "sha-256", title: "ECDSA with SHA-256 under the algorithm -35", forge: func(d *draft) {
			d.sign = func(m []byte) []byte { return fixedSize(k.sign(d.key(), crypto.SHA256, m), 48) }
		}, source: rfcECDSA},
		{id: "sha-512", title: "ECDSA with SHA-512 under the algorithm -35", forge: func(d *draft) {
			d.sign = func(m []byte) []byte { return fixedSize(k.sign(d.key(), crypto.SHA512, m), 48) }
		}, source: rfcECDSA},
		{id: "hmac-under-public-key", title: "HMAC under the leaf's public key, and the algorithm says HMAC", forge: func(d *draft) {
			d.protected = []byte{0xa1, 0x01, 0x05}
			d.sign = func(m []byte) []byte {
				mac := hmac.New(sha256.New, point(d.key()))
				mac.Write(m)
				return mac.Sum(nil)
			}
		}, source: "RFC 8725 section 2.1: key confusion", fails: failsSignature},
		{id: "x5chain-key", title: "signed by an attacker's key whose certificate is in the unprotected header", forge: func(d *draft) {
			attacker := k.worldOf("attacker").chain()
			d.unprotected = mapOf(pair{head(majorUint, 33), bstr(attacker[leaf].encode(k.keyring, attacker[instance]))})
			d.sign = func(m []byte) []byte { return d.es384(attacker[leaf].key, m) }
		}, source: "RFC 9360", fails: []string{attestation.CheckFormat}, wrong: "the key is certificate's, whatever other certificates are there"},
	})
	changedAfterSigning(k)
}

// changedAfterSigning flips one bit in every field of a signed payload. The
// values stay well-formed, so that nothing but the signature can find it.
func changedAfterSigning(k *kitchen) {
	flip := func(within func(d *draft) []byte, offset int) func(*draft) {
		return func(d *draft) {
			old := within(d)
			changed := bytes.Clone(old)
			changed[(offset+len(old))%len(old)] ^= 1
			d.swap = func(payload []byte) []byte { return replaceOnce(payload, old, changed) }
		}
	}
	value := func(key string) func(*draft) []byte {
		return func(d *draft) []byte { return d.fields[d.index(key)].value }
	}
	other := func(d *draft) {
		pcrs := productionPCRs(k.keyring)
		genuine := pcrs[0]
		attackers := pcr(k.keyring, "attacker's image")
		pcrs[0] = attackers
		d.setPCRs(pcrs)
		d.swap = func(payload []byte) []byte { return replaceOnce(payload, attackers, genuine) }
	}
	pcrValue := func(i uint) func(*draft) []byte {
		return func(*draft) []byte { return append(head(majorUint, uint64(i)), bstr(productionPCRs(k.keyring)[i])...) }
	}
	k.cook("A3", recipe{fails: failsSignature, source: specCOSE}, []recipe{
		{id: "forged-pcr0", title: "document of another image, PCR0 replaced by the expected one after signing", forge: other},
		{id: "changed-module-id", title: "module_id changed after signing", forge: flip(value(keyModuleID), -1)},
		{id: "changed-timestamp", title: "timestamp changed after signing, by a millisecond", forge: flip(value(keyTimestamp), -1)},
		{id: "changed-pcr4", title: "PCR4 changed after signing", forge: flip(pcrValue(4), -1)},
		{id: "changed-pcr15", title: "PCR15 changed after signing", forge: flip(pcrValue(15), -1)},
		{id: "changed-public-key", title: "public_key changed after signing", forge: flip(value(keyPublicKey), -1)},
		{id: "changed-user-data", title: "user_data changed after signing", forge: flip(value(keyUserData), -1)},
		{id: "changed-nonce", title: "nonce changed after signing", forge: flip(value(keyNonce), -1)},
		{id: "expected-nonce-forged", title: "nonce replaced by the expected one after signing", forge: func(d *draft) {
			old := k.bytes("an older nonce", 32)
			d.set(keyNonce, bstr(old))
			d.swap = func(payload []byte) []byte { return replaceOnce(payload, old, goodNonce(k.keyring)) }
		}, tell: func(c *Case) { c.Nonce = goodNonce(k.keyring) }},
		{id: "changed-digest", title: "digest changed after signing", forge: flip(value(keyDigest), -1), fails: []string{attestation.CheckDigest}},
		{id: "changed-map-head", title: "map of nine declared indefinite after signing", forge: func(d *draft) {
			d.definite()
			d.swap = func(payload []byte) []byte { return append(append([]byte{0xbf}, payload[1:]...), cborBreak) }
		}},
		{id: "changed-order", title: "nonce moved to the front after signing", forge: func(d *draft) {
			nonce := join(tstr(keyNonce), value(keyNonce)(d))
			d.swap = func(payload []byte) []byte {
				payload = replaceOnce(payload, nonce, nil)
				return join(payload[:1], nonce, payload[1:])
			}
		}},
		{id: "null-added", title: "null added for an absent nonce after signing", forge: func(d *draft) {
			d.drop(keyNonce)
			d.swap = func(payload []byte) []byte {
				return join(payload[:len(payload)-1], tstr(keyNonce), cborNull, []byte{cborBreak})
			}
		}},
	})
	for place, of := range placeNames {
		fails := failsChain
		r := recipe{
			id: "changed-" + of + "-certificate", title: of + " certificate changed after signing",
			source: specCOSE,
			forge: func(d *draft) {
				old := d.certificates()[place]
				changed := bytes.Clone(old)
				changed[len(changed)-1] ^= 1 // the last bit of s
				d.swap = func(payload []byte) []byte { return replaceOnce(payload, old, changed) }
			},
		}
		r.fails = append(failsSignature[:1:1], fails...)
		k.add("A3", r)
	}
}

// signatureForms are A20, and A16: the same signature in other bytes.
func signatureForms(k *kitchen) {
	form := func(change func(b []byte) []byte) func(*draft) {
		return func(d *draft) { d.signed = change }
	}
	item := func(change func(item []byte) []byte) func(*draft) {
		return func(d *draft) { d.items[itemSignature] = change }
	}
	strip := func(offset int) func(*draft) {
		return func(d *draft) {
			zeroByteIn(offset)(d)
			d.signed = func(b []byte) []byte { return slices.Delete(b, offset, offset+1) }
		}
	}
	malleable := func(d *draft) {
		d.signed = func(b []byte) []byte { return fixedSize(twin(asDER(b)), 48) }
	}
	k.cook("A16", recipe{verdict: Accept, source: "base/nitro-validator README: malleability"}, []recipe{
		{id: "twin", title: "the twin signature, r and the order of the group minus s", forge: malleable, twin: "good-indefinite-map"},
		{id: "twin-definite-map", title: "the twin signature, in a map of nine", forge: func(d *draft) { d.definite(); malleable(d) }, twin: "good-definite-map"},
		{id: "twin-with-tag", title: "the twin signature and tag 18", forge: func(d *draft) { malleable(d); d.prefix = []byte{0xd2} }, twin: "good-indefinite-map"},
	})
	format := []string{attestation.CheckFormat}
	k.cook("A20", recipe{level: Strict, fails: failsSignature, source: rfcECDSA}, []recipe{
		{id: "der", title: "a good signature in DER, as X.509 has it", forge: form(asDER)},
		{id: "short-r-stripped", title: "r without its leading zero byte: 95 bytes", forge: strip(0), source: "base/nitro-validator: Short47Bytes"},
		{id: "short-s-stripped", title: "s without its leading zero byte: 95 bytes", forge: strip(48), source: "base/nitro-validator: ShortS_Regression"},
		{id: "leading-zero", title: "a zero byte before a good signature: 97 bytes", forge: form(func(b []byte) []byte { return append([]byte{0}, b...) })},
		{id: "trailing-zero", title: "a zero byte after a good signature: 97 bytes", forge: form(func(b []byte) []byte { return append(b, 0) })},
		{id: "zero-before-each", title: "r and s of 49 bytes each: 98 bytes", forge: form(func(b []byte) []byte { return join([]byte{0}, b[:48], []byte{0}, b[48:]) })},
		{id: "twice", title: "a good signature twice: 192 bytes", forge: form(func(b []byte) []byte { return append(b, b...) })},
		{id: "padded-to-132", title: "r and s of 66 bytes each, the size of ES512", forge: form(func(b []byte) []byte {
			return join(make([]byte, 18), b[:48], make([]byte, 18), b[48:])
		})},
		{id: "empty", title: "no byte", forge: form(func([]byte) []byte { return nil }), level: Must},
		{id: "r-alone", title: "r alone: 48 bytes", forge: form(func(b []byte) []byte { return b[:48] }), level: Must},
		{id: "es256-size", title: "64 bytes, the size of ES256", forge: form(func(b []byte) []byte { return b[:64] }), level: Must},
		{id: "cut-by-one", title: "the last byte is missing", forge: form(func(b []byte) []byte { return b[:95] }), level: Must},
		{id: "null", title: "null instead of a signature", forge: item(func([]byte) []byte { return cborNull }), level: Must, fails: format, source: rfcSign1},
		{id: "text", title: "the signature in hex digits, as text", forge: item(func(b []byte) []byte { return tstr(string(hexOf(b[2:]))) }), level: Must, fails: format, source: rfcSign1},
		{id: "array-of-numbers", title: "the signature as an array of small integers", forge: item(func(b []byte) []byte {
			var items [][]byte
			for _, v := range b[2:] {
				items = append(items, head(majorUint, uint64(v)))
			}
			return array(items...)
		}), level: Must, fails: format, source: rfcSign1},
		{id: "array-of-r-and-s", title: "r and s in an array", forge: item(func(b []byte) []byte { return array(bstr(b[2:50]), bstr(b[50:])) }), fails: format, source: rfcSign1},
	})
}
