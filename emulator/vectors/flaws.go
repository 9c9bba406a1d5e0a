package vectors

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"slices"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

// A flaw is one thing wrong with a certificate. It is tried at each place in
// the chain where it means something, in a chain that is good in all else:
// signed by its issuer and signing what is below it.
type flaw struct {
	id, title string
	wrong     string
	places    []int // nil: all but the root
	verdict   Verdict
	level     Level
	source    string

	// unreadable says that crypto/x509 cannot read such a certificate, so that
	// our verifier has no leaf to verify the signature with.
	unreadable bool

	// inherited says that the certificate below carries the flaw too, in the name
	// of its issuer.
	inherited bool

	fails []string // instead of the chain alone
	make  func(k *kitchen, c *certificate)
}

var (
	issuers    = []int{regional, zonal, instance}
	everywhere = []int{regional, zonal, instance, leaf}
	leafAlone  = []int{leaf}
)

// certificateFlaws are A21.
func certificateFlaws(k *kitchen) {
	for _, flaws := range [][]flaw{constraintFlaws(), usageFlaws(), extensionFlaws(k), fieldFlaws(), nameFlaws(), keyFlaws(k), algorithmFlaws(k), signatureFlaws(k), encodingFlaws(k)} {
		for _, f := range flaws {
			k.flawed(f)
		}
	}
	rootFlaws(k)
}

func (k *kitchen) flawed(f flaw) {
	places := f.places
	if places == nil {
		places = everywhere
	}
	for _, place := range places {
		r := recipe{
			id: f.id + "-" + placeNames[place], title: placeNames[place] + " certificate " + f.title, wrong: f.wrong,
			verdict: f.verdict, level: f.level, source: f.source,
			forge: func(d *draft) {
				f.make(k, d.chain[place])
				if place < leaf {
					signedBy(d.chain[place+1], d.chain[place].key)
				}
			},
		}
		if f.verdict == "" || f.verdict == Reject {
			r.fails = failsChain
			if f.unreadable && (place == leaf || f.inherited && place == instance) {
				r.fails = []string{attestation.CheckSignature, attestation.CheckChain}
			}
			if f.fails != nil {
				r.fails = f.fails
			}
		}
		k.add("A21", r)
	}
}

// signedBy makes a certificate say how it is signed, by a key of another type
// than the usual one: it has no flaw of its own.
func signedBy(c *certificate, issuer crypto.Signer) {
	switch issuer.(type) {
	case *rsa.PrivateKey:
		c.algorithm(rsaSHA384, sha384)
	case ed25519.PrivateKey:
		c.algorithm(pureEd25519, sha384)
	}
}

// constraint replaces the content of basicConstraints.
func constraint(value []byte) func(*kitchen, *certificate) {
	return func(_ *kitchen, c *certificate) { c.find(idConstraints).value = value }
}

func constraintFlaws() []flaw {
	ca := boolean(0xff)
	length := func(n ...byte) []byte { return append([]byte{0x02, byte(len(n))}, n...) }
	return []flaw{
		{id: "ca-false", title: "is no CA", places: issuers, source: rfcPath + ".4 (k)", make: constraint(sequence())},
		{id: "no-constraints", title: "without basic constraints", places: issuers, source: rfcPath + ".4 (k)", make: func(_ *kitchen, c *certificate) { c.drop(idConstraints) }},
		{id: "constraints-not-critical", title: "with basic constraints that are not critical", places: issuers, level: Strict, source: specLengths, make: func(_ *kitchen, c *certificate) { c.find(idConstraints).critical = false }},
		{id: "path-length-zero", title: "with path length 0, CAs are below it", places: []int{regional, zonal}, source: specLengths, make: constraint(sequence(ca, length(0)))},
		{id: "path-length-one", title: "with path length 1, two CAs are below it", places: []int{regional}, source: specLengths, make: constraint(sequence(ca, length(1)))},
		{id: "path-length-negative", title: "with path length -1", places: issuers, source: specLengths, unreadable: true, make: constraint(sequence(ca, length(0xff)))},
		{id: "path-length-not-minimal", title: "with a path length in more bytes than it needs", places: issuers, level: Strict, source: der, unreadable: true, make: constraint(sequence(ca, length(0, 2)))},
		{id: "path-length-256", title: "with path length 256", places: issuers, verdict: Either, level: Strict, source: rfcExtension + ".1.9", make: constraint(sequence(ca, length(1, 0)))},
		{id: "path-length-2-to-64", title: "with path length 2^64", places: issuers, verdict: Either, level: Strict, source: rfcExtension + ".1.9", make: constraint(sequence(ca, length(1, 0, 0, 0, 0, 0, 0, 0, 0)))},
		{id: "path-length-without-ca", title: "with a path length, but no CA", source: specLengths, make: constraint(sequence(length(2)))},
		{id: "constraints-empty-value", title: "with basic constraints of no bytes", places: issuers, source: rfcExtension + ".1.9", unreadable: true, make: constraint(nil)},
		{id: "constraints-no-sequence", title: "with basic constraints that are a BOOLEAN alone", places: issuers, source: rfcExtension + ".1.9", unreadable: true, make: constraint(ca)},
		{id: "ca-01", title: "with TRUE written as 01", places: issuers, level: Strict, source: "X.690 section 11.1; Cantina review of base/nitro-validator 2026, 3.2.6", unreadable: true, make: constraint(sequence(boolean(1), length(2)))},
		{id: "ca-of-two-bytes", title: "with a BOOLEAN of two bytes", places: issuers, level: Strict, source: "X.690 section 8.2", unreadable: true, make: constraint(sequence([]byte{0x01, 0x02, 0xff, 0xff}))},
		{id: "ca-explicit-false", title: "with an explicit FALSE", places: leafAlone, level: Strict, source: "X.690 section 11.5", make: constraint(sequence(boolean(0)))},
		{id: "constraints-tail-inside", title: "with a NULL after the path length", places: issuers, level: Strict, source: der, make: constraint(sequence(ca, length(2), null))},
		{id: "constraints-tail-outside", title: "with a NULL after the basic constraints", places: issuers, level: Strict, source: der, make: constraint(append(sequence(ca, length(2)), null...))},
		{id: "constraints-long-form", title: "with basic constraints whose length has two bytes", places: issuers, level: Strict, source: der, unreadable: true, make: constraint(longForm(sequence(ca, length(2))))},
		{id: "constraints-twice", title: "with basic constraints twice, CA and no CA", places: issuers, source: rfcExtension, unreadable: true, make: func(_ *kitchen, c *certificate) {
			c.extensions = append([]extension{constraints(false, -1)}, c.extensions...)
		}},
		{id: "ca", title: "is a CA", places: leafAlone, source: specLengths + "; " + specUsage, make: constraint(sequence(ca))},
		{id: "ca-with-path-length", title: "is a CA of path length 0", places: leafAlone, source: specUsage, make: constraint(sequence(ca, length(0)))},
		{id: "ca-that-may-sign", title: "is a CA that may sign certificates", places: leafAlone, source: specUsage, make: func(k *kitchen, c *certificate) {
			constraint(sequence(ca))(k, c)
			c.find(idKeyUsage).value = usageCA
		}},
	}
}

func usageFlaws() []flaw {
	value := func(b ...byte) func(*kitchen, *certificate) {
		return func(_ *kitchen, c *certificate) { c.find(idKeyUsage).value = b }
	}
	return []flaw{
		{id: "no-key-usage", title: "without key usage", source: specUsage, make: func(_ *kitchen, c *certificate) { c.drop(idKeyUsage) }},
		{id: "no-cert-sign", title: "whose key may not sign certificates", places: issuers, source: specUsage, make: value(0x03, 0x02, 0x07, 0x80)},
		{id: "crl-sign-alone", title: "whose key may sign revocation lists alone", places: issuers, source: specUsage, make: value(0x03, 0x02, 0x01, 0x02)},
		{id: "no-digital-signature", title: "whose key is for nonRepudiation alone", places: leafAlone, source: specUsage, make: value(0x03, 0x02, 0x06, 0x40)},
		{id: "key-agreement-alone", title: "whose key is for key agreement alone", places: leafAlone, source: specUsage, make: value(0x03, 0x02, 0x03, 0x08)},
		{id: "usage-empty", title: "with a key usage of no bits", source: specUsage, make: value(0x03, 0x01, 0x00), level: Must},
		{id: "cert-sign", title: "whose key may sign certificates", places: leafAlone, level: Strict, source: rfcExtension + ".1.3", make: value(0x03, 0x02, 0x02, 0x84)},
		{id: "usage-not-minimal", title: "with zero bits at the end of its key usage", places: leafAlone, level: Strict, source: "X.690 section 11.2.2", make: value(0x03, 0x02, 0x00, 0xc0)},
		{id: "usage-unused-bits-8", title: "with a key usage of eight unused bits", level: Strict, source: "X.690 section 8.6", unreadable: true, make: value(0x03, 0x02, 0x08, 0x86)},
		{id: "usage-unused-bits-set", title: "with unused bits of its key usage set", level: Strict, source: "X.690 section 11.2.1", unreadable: true, make: value(0x03, 0x02, 0x06, 0xff)},
		{id: "usage-octet-string", title: "with a key usage in an OCTET STRING", source: rfcExtension + ".1.3", unreadable: true, make: value(0x04, 0x02, 0x01, 0x86)},
		{id: "usage-tail", title: "with a NULL after its key usage", level: Strict, source: der, make: func(_ *kitchen, c *certificate) {
			e := c.find(idKeyUsage)
			e.value = append(slices.Clone(e.value), null...)
		}},
		{id: "usage-long-form", title: "with a key usage whose length has two bytes", level: Strict, source: der, unreadable: true, make: func(_ *kitchen, c *certificate) {
			e := c.find(idKeyUsage)
			e.value = longForm(e.value)
		}},
		{id: "usage-twice", title: "with its key usage twice", level: Strict, source: rfcExtension, unreadable: true, make: func(_ *kitchen, c *certificate) { c.add(*c.find(idKeyUsage)) }},
		{id: "usage-decipher-only", title: "with decipherOnly, the ninth bit, in its key usage", places: leafAlone, verdict: Either, level: Strict, source: rfcExtension + ".1.3", make: value(0x03, 0x03, 0x07, 0xc0, 0x80)},
	}
}

// private is an extension below the arc for examples: nobody knows it.
func private(critical bool) extension {
	parts := [][]byte{oid(1, 3, 6, 1, 4, 1, 32473, 1)}
	if critical {
		parts = append(parts, boolean(0xff))
	}
	return extension{raw: sequence(append(parts, octets(null))...)}
}

func extensionFlaws(k *kitchen) []flaw {
	add := func(e extension) func(*kitchen, *certificate) {
		return func(_ *kitchen, c *certificate) { c.add(e) }
	}
	elsewhere := tlv(0xa0, sequence(tlv(0xa4, name(attribute{country, printable("XX")}))))
	usages := func(last int) extension {
		return extension{id: 37, value: sequence(oid(1, 3, 6, 1, 5, 5, 7, 3, last))}
	}
	critical := func(e extension) extension { e.critical = true; return e }
	return []flaw{
		{id: "unknown-critical", title: "with a critical extension that nobody knows", source: rfcExtension, make: add(private(true))},
		{id: "unknown-extension", title: "with an extension that nobody knows", verdict: Accept, level: Strict, source: rfcExtension, make: add(private(false))},
		{id: "critical-crl-points", title: "with a critical list of revocation lists", places: []int{regional, zonal}, verdict: Either, level: Strict, source: specNoCRL, make: func(_ *kitchen, c *certificate) { c.find(idCRLPoints).critical = true }},
		{id: "name-constraints", title: "that permits names of another country alone", places: issuers, source: rfcExtension + ".1.10", make: add(critical(extension{id: 30, value: sequence(elsewhere)}))},
		{id: "name-constraints-not-critical", title: "that permits names of another country alone, not critical", places: issuers, level: Strict, source: rfcExtension + ".1.10", make: add(extension{id: 30, value: sequence(elsewhere)})},
		{id: "policy-required", title: "that requires a policy, of which no certificate has one", places: issuers, source: rfcExtension + ".1.11", make: add(critical(extension{id: 36, value: sequence([]byte{0x80, 0x01, 0x00})}))},
		{id: "policy-required-not-critical", title: "that requires a policy, not critical", places: issuers, level: Strict, source: rfcExtension + ".1.11", make: add(extension{id: 36, value: sequence([]byte{0x80, 0x01, 0x00})})},
		{id: "inhibit-any-policy", title: "that inhibits anyPolicy, which no certificate has", places: issuers, verdict: Either, level: Strict, source: rfcExtension + ".1.14", make: add(critical(extension{id: 54, value: []byte{0x02, 0x01, 0x00}}))},
		{id: "server-auth", title: "with the extended key usage serverAuth", places: leafAlone, verdict: Either, level: Strict, source: rfcExtension + ".1.12", make: add(usages(1))},
		{id: "code-signing", title: "with the critical extended key usage codeSigning", places: leafAlone, verdict: Either, level: Strict, source: rfcExtension + ".1.12", make: add(critical(usages(3)))},
		{id: "alternative-name", title: "with a subject alternative name", places: leafAlone, verdict: Accept, level: Strict, source: rfcExtension + ".1.6", make: add(extension{id: 17, value: sequence(tlv(0x82, []byte("emulated.invalid")))})},
		{id: "no-key-identifiers", title: "without key identifiers", places: issuers, verdict: Accept, level: Strict, source: rfcExtension + ".1.1", make: func(_ *kitchen, c *certificate) { c.drop(idAuthorityKey); c.drop(idSubjectKey) }},
		{id: "other-authority-key", title: "that names another key of its issuer", places: issuers, verdict: Either, level: Strict, source: rfcExtension + ".1.1", make: func(k *kitchen, c *certificate) {
			c.find(idAuthorityKey).value = authorityKeyID(k.bytes("another key identifier", 20)).value
		}},
		{id: "extension-without-value", title: "with an extension of no value", level: Strict, source: rfcExtension, unreadable: true, make: add(extension{raw: sequence(oid(2, 5, 29, 99))})},
		{id: "extension-critical-01", title: "with a critical flag written as 01", level: Strict, source: "X.690 section 11.1", unreadable: true, make: add(extension{raw: sequence(oid(1, 3, 6, 1, 4, 1, 32473, 1), boolean(1), octets(null))})},
		{id: "constraints-flag-01", title: "with basic constraints whose critical flag is 01", places: issuers, level: Strict, source: "X.690 section 11.1; Cantina review of base/nitro-validator 2026, 3.2.6", unreadable: true, make: func(_ *kitchen, c *certificate) {
			e := c.find(idConstraints)
			e.raw = sequence(oid(2, 5, 29, idConstraints), boolean(1), octets(e.value))
		}},
	}
}
