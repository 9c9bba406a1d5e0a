package vectors

import (
	"bytes"
	"crypto"
	"math/big"
	"slices"
)

// algorithmFlaws are about how a certificate is signed: rightly, but not with
// ecdsa-with-SHA384, or not as it says.
func algorithmFlaws(*kitchen) []flaw {
	with := func(id []byte, hash crypto.Hash) func(*kitchen, *certificate) {
		return func(_ *kitchen, c *certificate) { c.algorithm(id, hash) }
	}
	return []flaw{
		{id: "sha1", title: "signed with ECDSA and SHA-1", source: "SHA-1 is broken for signatures (RFC 6194)", make: with(ecdsaSHA1, crypto.SHA1)},
		{id: "sha256", title: "signed with ECDSA and SHA-256", level: Strict, source: "every genuine certificate is signed with SHA-384", make: with(ecdsaSHA256, crypto.SHA256)},
		{id: "sha512", title: "signed with ECDSA and SHA-512", level: Strict, source: "every genuine certificate is signed with SHA-384", make: with(ecdsaSHA512, crypto.SHA512)},
		{id: "sha256-said-to-be-sha384", title: "signed with SHA-256, and says SHA-384", source: rfcCert + ".1.3", make: with(ecdsaSHA384, crypto.SHA256)},
		{id: "algorithm-inside-other", title: "with another signature algorithm inside than outside", level: Strict, source: rfcCert + ".1.2", unreadable: true, make: func(_ *kitchen, c *certificate) { c.inner = ecdsaSHA256 }},
		{id: "algorithm-outside-other", title: "with another signature algorithm outside than inside", level: Strict, source: rfcCert + ".1.2", unreadable: true, make: func(_ *kitchen, c *certificate) { c.outer = ecdsaSHA256 }},
		{id: "algorithm-null", title: "with NULL for parameters of its signature algorithm", level: Strict, source: "RFC 5758 section 3.2", make: with(sequence(oid(1, 2, 840, 10045, 4, 3, 3), null), sha384)},
		{id: "algorithm-unknown", title: "signed with an algorithm that nobody knows", source: rfcCert + ".1.2", make: with(sequence(oid(1, 3, 6, 1, 4, 1, 32473, 3)), sha384)},
		{id: "algorithm-ed25519", title: "says Ed25519, signed with ECDSA", source: rfcCert + ".1.2", make: with(pureEd25519, sha384)},
		{id: "algorithm-rsa", title: "says RSA, signed with ECDSA", source: rfcCert + ".1.2", make: with(rsaSHA384, sha384)},
	}
}

// signatureFlaws are about the signature of a certificate.
func signatureFlaws(k *kitchen) []flaw {
	order := p384.Params().N
	zero, one := new(big.Int), big.NewInt(1)
	edit := func(change func(signature []byte) []byte) func(*kitchen, *certificate) {
		return func(_ *kitchen, c *certificate) { c.editSignature = change }
	}
	numbers := func(change func(r, s *big.Int) []byte) func(*kitchen, *certificate) {
		return edit(func(b []byte) []byte { return change(splitDER(b)) })
	}
	bits := func(change func(bits []byte) []byte) func(*kitchen, *certificate) {
		return func(_ *kitchen, c *certificate) { c.editBits = change }
	}
	// padded is n with a zero byte that DER forbids.
	padded := func(n *big.Int) []byte {
		return tlv(0x02, make([]byte, 1), integer(n)[2:])
	}
	return []flaw{
		{id: "signature-flip", title: "with one bit of its signature flipped", source: rfcPath + ".3 (a) (1)", make: numbers(func(r, s *big.Int) []byte { return joinDER(r, s.Xor(s, one)) })},
		{id: "signature-zeros", title: "with r and s of zero", source: "CVE-2022-21449", make: edit(func([]byte) []byte { return joinDER(zero, zero) })},
		{id: "signature-r-zero", title: "with r of zero", source: "CVE-2022-21449", make: numbers(func(_, s *big.Int) []byte { return joinDER(zero, s) })},
		{id: "signature-s-zero", title: "with s of zero", source: "CVE-2022-21449", make: numbers(func(r, _ *big.Int) []byte { return joinDER(r, zero) })},
		{id: "signature-order", title: "with r and s of the order of the group", source: "CVE-2022-21449", make: edit(func([]byte) []byte { return joinDER(order, order) })},
		{id: "signature-s-plus-order", title: "with s and the order of the group added", source: "SEC 1 section 4.1.4", make: numbers(func(r, s *big.Int) []byte { return joinDER(r, s.Add(s, order)) })},
		{id: "signature-minus-s", title: "with -s for s", source: "SEC 1 section 4.1.4", make: numbers(func(r, s *big.Int) []byte { return joinDER(r, s.Neg(s)) })},
		{id: "signature-empty", title: "with a signature of no bytes", source: rfcPath + ".3 (a) (1)", make: edit(func([]byte) []byte { return nil })},
		{id: "signature-of-grandparent", title: "signed by its issuer's issuer", places: []int{zonal, instance, leaf}, source: rfcPath + ".3 (a) (1)", make: func(k *kitchen, c *certificate) {
			c.signer = k.grandparent(c)
		}},
		{id: "signature-own", title: "signed by itself, under its issuer's name", source: rfcPath + ".3 (a) (1)", make: func(_ *kitchen, c *certificate) { c.signer = c.key }},
		{id: "signature-of-another", title: "with the signature of another certificate of its issuer", source: rfcPath + ".3 (a) (1)", make: func(k *kitchen, c *certificate) {
			issuer := k.above(c, 1)
			c.sign = func(tbs []byte) []byte { return k.sign(issuer, sha384, append(bytes.Clone(tbs), 0)) }
		}},
		{id: "signature-padded", title: "with a zero byte in front of r in its signature", level: Strict, source: "X.690 section 8.3.2", make: numbers(func(r, s *big.Int) []byte { return sequence(padded(r), integer(s)) })},
		{id: "signature-tail-inside", title: "with a third number in its signature", level: Strict, source: der, make: numbers(func(r, s *big.Int) []byte { return sequence(integer(r), integer(s), integer(one)) })},
		{id: "signature-tail-outside", title: "with a byte after its signature", level: Strict, source: der, make: edit(func(b []byte) []byte { return append(b, 0) })},
		{id: "signature-long-form", title: "with a signature whose length has two bytes", level: Strict, source: der, make: edit(longForm)},
		{id: "signature-raw", title: "with r and s of 48 bytes each for a signature", level: Strict, source: "RFC 3279 section 2.2.3", make: edit(func(b []byte) []byte { return fixedSize(b, 48) })},
		{id: "signature-unused-bit", title: "with an unused bit in the BIT STRING of its signature", level: Strict, source: "X.690 section 8.6", make: bits(func(b []byte) []byte { b[2] = 1; b[len(b)-1] &= 0xfe; return b })},
		{id: "signature-octet-string", title: "with its signature in an OCTET STRING", level: Strict, source: rfcCert + ".1.3", unreadable: true, make: bits(func(b []byte) []byte { b[0] = 4; return b })},
	}
}

// above is the key of the certificate so many places above c in the host's
// chain, grandparent that of its issuer's issuer.
func (k *kitchen) above(c *certificate, places int) crypto.Signer {
	chain := k.host.chain()
	i := slices.IndexFunc(chain, func(o *certificate) bool { return o.key == c.key })
	if i < places {
		broken("no certificate %d places above", places)
	}
	return chain[i-places].key
}

func (k *kitchen) grandparent(c *certificate) crypto.Signer { return k.above(c, 2) }

// encodingFlaws are about the certificate as a whole.
func encodingFlaws(k *kitchen) []flaw {
	whole := func(change func(der []byte) []byte) func(*kitchen, *certificate) {
		return func(_ *kitchen, c *certificate) { c.edit = change }
	}
	tbs := func(change func(content []byte) []byte) func(*kitchen, *certificate) {
		return func(_ *kitchen, c *certificate) {
			c.editTBS = func(b []byte) []byte { return sequence(change(bytes.Clone(content(b)))) }
		}
	}
	return []flaw{
		{id: "trailing-byte", title: "with a byte after it", level: Strict, source: der, unreadable: true, make: whole(func(b []byte) []byte { return append(b, 0) })},
		{id: "leading-byte", title: "with a byte before it", source: rfcCert, unreadable: true, make: whole(func(b []byte) []byte { return append([]byte{0}, b...) })},
		{id: "indefinite-length", title: "of indefinite length, BER", level: Strict, source: der, unreadable: true, make: whole(func(b []byte) []byte {
			return join([]byte{0x30, 0x80}, content(b), []byte{0, 0})
		})},
		{id: "length-of-three-bytes", title: "whose length has a byte more than it needs", level: Strict, source: der, unreadable: true, make: whole(func(b []byte) []byte {
			n := len(content(b))
			return join([]byte{0x30, 0x83, 0, byte(n >> 8), byte(n)}, content(b))
		})},
		{id: "length-too-long", title: "whose length is one more than there is", source: rfcCert, unreadable: true, make: whole(func(b []byte) []byte { b[3]++; return b })},
		{id: "length-huge", title: "of 4 GiB, as it says", source: rfcCert, unreadable: true, make: whole(func(b []byte) []byte {
			return join([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, content(b))
		})},
		{id: "cut", title: "cut off in the middle", source: rfcCert, unreadable: true, make: whole(func(b []byte) []byte { return b[:len(b)/2] })},
		{id: "cut-by-a-byte", title: "without its last byte", source: rfcCert, unreadable: true, make: whole(func(b []byte) []byte { return b[:len(b)-1] })},
		{id: "random", title: "of random bytes", source: rfcCert, unreadable: true, make: whole(func([]byte) []byte { return k.bytes("no certificate", 600) })},
		{id: "empty-sequence", title: "an empty SEQUENCE", source: rfcCert, unreadable: true, make: whole(func([]byte) []byte { return sequence() })},
		{id: "tbs-alone", title: "without algorithm and signature", source: rfcCert, unreadable: true, make: whole(func(b []byte) []byte { return content(b)[:bytes.Index(content(b), ecdsaSHA384)] })},
		{id: "set-instead-of-sequence", title: "in a SET instead of a SEQUENCE", level: Strict, source: rfcCert, unreadable: true, make: whole(func(b []byte) []byte { b[0] = 0x31; return b })},
		{id: "tail-inside", title: "with a NULL after its signature", level: Strict, source: rfcCert, make: whole(func(b []byte) []byte { return sequence(content(b), null) })},
		{id: "signed-tail", title: "with a NULL at the end of what is signed", level: Strict, source: rfcCert, make: tbs(func(b []byte) []byte { return append(b, null...) })},
		{id: "nested-deeply", title: "of 250 SEQUENCEs within each other", source: "parsers must be bounded", unreadable: true, make: whole(func([]byte) []byte {
			b := null
			for range 250 {
				b = sequence(b)
			}
			return b
		})},
	}
}

// content of a DER element with a length of at most two bytes after its first.
func content(element []byte) []byte {
	if element[1] < 0x80 {
		return element[2:]
	}
	return element[2+element[1]&0x7f:]
}

// rootFlaws are flaws of a root that the verifier was told to trust as it is.
// RFC 5280 does not look at them; AWS's list of checks does.
func rootFlaws(k *kitchen) {
	change := func(make func(c *certificate)) func(*draft) {
		return func(d *draft) { make(d.chain[root]) }
	}
	k.cook("A21", recipe{fails: failsChain, level: Strict, source: specUsage}, []recipe{
		{id: "path-length-zero-root", title: "pinned root with path length 0", pinned: true, forge: change(func(c *certificate) { *c.find(idConstraints) = constraints(true, 0) })},
		{id: "path-length-two-root", title: "pinned root with path length 2, three CAs are below it", pinned: true, forge: change(func(c *certificate) { *c.find(idConstraints) = constraints(true, 2) })},
		{id: "path-length-three-root", title: "pinned root with path length 3", pinned: true, verdict: Accept, forge: change(func(c *certificate) { *c.find(idConstraints) = constraints(true, 3) })},
		{id: "ca-false-root", title: "pinned root that is no CA", pinned: true, forge: change(func(c *certificate) { *c.find(idConstraints) = constraints(false, -1) })},
		{id: "no-cert-sign-root", title: "pinned root whose key may not sign certificates", pinned: true, forge: change(func(c *certificate) { c.find(idKeyUsage).value = []byte{0x03, 0x02, 0x07, 0x80} })},
		{id: "no-key-usage-root", title: "pinned root without key usage", pinned: true, forge: change(func(c *certificate) { c.drop(idKeyUsage) })},
		{id: "version-1-root", title: "pinned root of version 1", pinned: true, verdict: Either, source: rfcPath + ".1 (d)", forge: change(func(c *certificate) { c.version, c.extensions = nil, nil })},
		{id: "unknown-critical-root", title: "pinned root with a critical extension that nobody knows", pinned: true, source: rfcExtension, forge: change(func(c *certificate) { c.add(private(true)) })},
		{id: "signature-flip-root", title: "pinned root whose own signature does not verify", pinned: true, source: rfcPath + ".1 (d)", verdict: Either, forge: change(func(c *certificate) {
			c.editSignature = func(b []byte) []byte {
				r, s := splitDER(b)
				return joinDER(r, s.Xor(s, big.NewInt(1)))
			}
		})},
	})
}

// revocation is A15. AWS tells verifiers to look at no revocation lists; one
// that keeps a list of its own has to find a certificate again in other bytes.
func revocation(k *kitchen) {
	for _, place := range []int{regional, zonal, instance, leaf} {
		k.add("A15", recipe{
			id: "twin-of-" + placeNames[place], title: placeNames[place] + " certificate with the twin of its signature, r and the order of the group minus s",
			wrong: "it is the same certificate in other bytes", verdict: Either, source: "Cantina review of base/nitro-validator 2025, 3.4.4",
			forge: func(d *draft) { d.chain[place].editSignature = twin },
		})
	}
	k.cook("A15", recipe{verdict: Accept, source: specNoCRL}, []recipe{
		{id: "lists-out-of-reach", title: "revocation lists at addresses where nobody answers", forge: func(d *draft) {
			for _, place := range []int{regional, zonal} {
				d.chain[place].find(idCRLPoints).value = crlPoint("http://127.0.0.1:1/emulated.crl").value
			}
		}},
		{id: "lists-without-scheme", title: "revocation lists at something that is no address", level: Strict, forge: func(d *draft) {
			d.chain[zonal].find(idCRLPoints).value = crlPoint("emulated").value
		}},
		{id: "list-of-leaf", title: "a revocation list named in the leaf", level: Strict, forge: func(d *draft) {
			d.chain[leaf].add(crlPoint("http://crl.nitrolab-emulated.invalid/leaf.crl"))
		}},
	})
}
