package vectors

import (
	"crypto/elliptic"
	"slices"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

// fieldFlaws are about version, serial number and validity.
func fieldFlaws() []flaw {
	version := func(b []byte) func(*kitchen, *certificate) {
		return func(_ *kitchen, c *certificate) { c.version = b }
	}
	serial := func(element []byte) func(*kitchen, *certificate) {
		return func(_ *kitchen, c *certificate) { c.serial = element }
	}
	until := func(element []byte) func(*kitchen, *certificate) {
		return func(_ *kitchen, c *certificate) { c.notAfter = element }
	}
	text := func(tag byte, s string) []byte { return tlv(tag, []byte(s)) }
	return []flaw{
		{id: "version-1", title: "of version 1, without extensions", source: rfcPath + ".4 (k)", make: func(_ *kitchen, c *certificate) { c.version, c.extensions = nil, nil }},
		{id: "version-1-with-extensions", title: "of version 1, with extensions", level: Strict, source: rfcCert + ".2.9", make: version(nil)},
		{id: "version-2", title: "of version 2, with extensions", level: Strict, source: rfcCert + ".2.9", make: version([]byte{0xa0, 3, 2, 1, 1})},
		{id: "version-4", title: "of version 4", level: Strict, source: rfcCert + ".2.1", unreadable: true, make: version([]byte{0xa0, 3, 2, 1, 3})},
		{id: "serial-zero", title: "of serial number 0", verdict: Either, level: Strict, source: rfcCert + ".2.2", make: serial([]byte{0x02, 0x01, 0x00})},
		{id: "serial-negative", title: "of serial number -1", verdict: Either, level: Strict, source: rfcCert + ".2.2", make: serial([]byte{0x02, 0x01, 0xff})},
		{id: "serial-of-21-bytes", title: "of a serial number of 21 bytes", verdict: Either, level: Strict, source: rfcCert + ".2.2", make: serial(tlv(0x02, []byte("A serial number of 21")))},
		{id: "serial-not-minimal", title: "of a serial number with zero bytes in front", level: Strict, source: "X.690 section 8.3.2", unreadable: true, make: serial(tlv(0x02, []byte{0, 0, 1, 2, 3}))},
		{id: "serial-empty", title: "of a serial number of no bytes", level: Strict, source: "X.690 section 8.3.1", unreadable: true, make: serial([]byte{0x02, 0x00})},
		{id: "month-13", title: "that ends in a thirteenth month", source: "Cantina review of base/nitro-validator 2026, 3.2.9", unreadable: true, make: until(text(0x17, "491331235959Z"))},
		{id: "february-30", title: "that ends on a 30th of February", source: "Cantina review of base/nitro-validator 2026, 3.2.9", unreadable: true, make: until(text(0x17, "480230000000Z"))},
		{id: "hour-24", title: "that ends at 24:00", level: Strict, source: rfcCert + ".2.5", unreadable: true, make: until(text(0x17, "481231240000Z"))},
		{id: "time-of-letters", title: "that ends at letters", source: rfcCert + ".2.5", unreadable: true, make: until(text(0x17, "never-ending!"))},
		{id: "time-null", title: "whose end is a NULL", source: rfcCert + ".2.5", unreadable: true, make: until(null)},
		{id: "time-empty", title: "whose end has no bytes", source: rfcCert + ".2.5", unreadable: true, make: until([]byte{0x17, 0x00})},
		{id: "time-without-seconds", title: "whose end has no seconds", level: Strict, source: rfcCert + ".2.5.1", make: until(text(0x17, "4812312359Z"))},
		{id: "time-with-offset", title: "whose end has an offset from UTC", level: Strict, source: rfcCert + ".2.5.1", make: until(text(0x17, "481231235959+0100"))},
		{id: "time-with-fraction", title: "whose end has a fraction of a second", level: Strict, source: rfcCert + ".2.5.2", unreadable: true, make: until(text(0x18, "20481231235959.5Z"))},
		{id: "generalized-time-before-2050", title: "that ends before 2050 in a GeneralizedTime", verdict: Either, level: Strict, source: rfcCert + ".2.5", make: until(generalizedTime(time.Date(2049, time.December, 31, 0, 0, 0, 0, time.UTC)))},
		{id: "no-end", title: "that ends in 9999: it has no well-defined end", verdict: Accept, level: Strict, source: rfcCert + ".2.5", make: until(text(0x18, "99991231235959Z"))},
		{id: "end-before-beginning", title: "that ends before it begins", source: specValidity, fails: []string{attestation.CheckValidity}, places: issuers, make: func(_ *kitchen, c *certificate) {
			c.notBefore, c.notAfter = c.notAfter, c.notBefore
		}},
		{id: "unique-ids", title: "with unique identifiers of issuer and subject", verdict: Either, level: Strict, source: rfcCert + ".2.8", make: func(_ *kitchen, c *certificate) {
			c.uniqueIDs = append(tlv(0x81, []byte{0, 1}), tlv(0x82, []byte{0, 2})...)
		}},
	}
}

// nameFlaws are about issuer and subject.
func nameFlaws() []flaw {
	issuer := func(n []byte) func(*kitchen, *certificate) {
		return func(_ *kitchen, c *certificate) { c.issuer = n }
	}
	cn := func(value []byte) []byte { return name(attribute{commonName, value}) }
	subject := func(n []byte) func(*kitchen, *certificate) {
		return func(_ *kitchen, c *certificate) { c.subject = n }
	}
	return []flaw{
		{id: "issuer-other", title: "whose issuer is somebody else by name", source: rfcPath + ".3 (a) (4)", make: issuer(cn(utf8String("nitrolab emulated, somebody else")))},
		{id: "issuer-empty", title: "without the name of its issuer", source: rfcCert + ".2.4", make: issuer(sequence())},
		{id: "issuer-own", title: "with its own name as its issuer's", source: rfcPath + ".3 (a) (4)", make: func(_ *kitchen, c *certificate) { c.issuer = c.subject }},
		{id: "subject-empty", title: "without a name", places: issuers, verdict: Either, level: Strict, source: rfcCert + ".2.6", make: subject(sequence())},
		{id: "subject-with-nul", title: "with a zero byte in its name", verdict: Either, level: Strict, source: rfcCert + ".2.6", make: subject(cn(utf8String("nitrolab emulated\x00.aws")))},
		{id: "subject-not-utf-8", title: "with a name that is not UTF-8", level: Strict, source: "X.690 section 8.23", unreadable: true, inherited: true, make: subject(cn(tlv(0x0c, []byte{0xff, 0xfe})))},
		{id: "subject-octet-string", title: "with a name in an OCTET STRING", level: Strict, source: "Cantina review of base/nitro-validator 2026, 3.2.7", unreadable: true, inherited: true, make: subject(cn(octets([]byte("nitrolab emulated"))))},
		{id: "subject-number", title: "with a name that is an INTEGER", level: Strict, source: rfcCert + ".2.4", unreadable: true, inherited: true, make: subject(cn([]byte{0x02, 0x01, 0x01}))},
		{id: "subject-two-common-names", title: "with two common names", verdict: Either, level: Strict, source: rfcCert + ".2.6", make: subject(name(attribute{commonName, utf8String("nitrolab emulated")}, attribute{commonName, utf8String("aws.nitro-enclaves")}))},
	}
}

// keyFlaws are about the public key. A key that is no P-384 key is used all the
// same, so that the signature below it is good by its own rules.
func keyFlaws(k *kitchen) []flaw {
	curve := func(c elliptic.Curve) func(*kitchen, *certificate) {
		return func(k *kitchen, of *certificate) { of.key = k.ecdsa(c, "wrong curve") }
	}
	spki := func(change func(point []byte) []byte) func(*kitchen, *certificate) {
		return func(_ *kitchen, c *certificate) {
			good := subjectKey(c.key)
			at := len(good) - 97
			c.spki = sequence(good[2:at-3], bitString(change(slices.Clone(good[at:]))))
		}
	}
	return []flaw{
		{id: "key-p256", title: "with a key on P-256", places: issuers, level: Strict, source: specCOSE + "; every genuine key is on P-384", make: curve(elliptic.P256())},
		{id: "key-p521", title: "with a key on P-521", places: issuers, level: Strict, source: specCOSE + "; every genuine key is on P-384", make: curve(elliptic.P521())},
		{id: "key-p224", title: "with a key on P-224", places: issuers, level: Strict, source: specCOSE + "; every genuine key is on P-384", make: curve(elliptic.P224())},
		{id: "key-rsa", title: "with an RSA key", places: []int{regional, zonal, instance}, level: Strict, source: "every genuine key is on P-384", make: func(k *kitchen, c *certificate) { c.key = k.rsa2048("wrong type") }},
		{id: "key-ed25519", title: "with an Ed25519 key", places: issuers, level: Strict, source: "every genuine key is on P-384", make: func(k *kitchen, c *certificate) { c.key = k.ed25519("wrong type") }},
		{id: "key-p256-es384", title: "with a key on P-256, ES384 by it in 96 bytes", places: leafAlone, level: Strict, source: rfcECDSA, fails: []string{attestation.CheckSignature, attestation.CheckChain}, make: curve(elliptic.P256())},
		{id: "point-compressed", title: "with a compressed point", level: Strict, source: "Cantina review of base/nitro-validator 2026, 3.2.10", unreadable: true, make: spki(func(p []byte) []byte { return append([]byte{2 + p[96]&1}, p[1:49]...) })},
		{id: "point-hybrid", title: "with a point in hybrid form", level: Strict, source: rfcEC, unreadable: true, make: spki(func(p []byte) []byte { p[0] = 6 + p[96]&1; return p })},
		{id: "point-not-on-curve", title: "with a point that is not on the curve", source: rfcEC, unreadable: true, make: spki(func(p []byte) []byte { p[96] ^= 1; return p })},
		{id: "point-at-infinity", title: "with the point at infinity", source: rfcEC, unreadable: true, make: spki(func([]byte) []byte { return []byte{0} })},
		{id: "point-zero", title: "with the point (0, 0)", source: rfcEC, unreadable: true, make: spki(func(p []byte) []byte { clear(p[1:]); return p })},
		{id: "point-cut", title: "with a point that lacks its last byte", source: rfcEC, unreadable: true, make: spki(func(p []byte) []byte { return p[:96] })},
		{id: "point-empty", title: "with a point of no bytes", source: rfcEC, unreadable: true, make: spki(func([]byte) []byte { return nil })},
		{id: "curve-p256-point-p384", title: "with a point on P-384 that is said to be on P-256", source: rfcEC, unreadable: true, make: func(_ *kitchen, c *certificate) {
			c.spki = sequence(sequence(oid(1, 2, 840, 10045, 2, 1), oid(1, 2, 840, 10045, 3, 1, 7)), bitString(point(c.key)))
		}},
		{id: "curve-implicit", title: "with a curve of NULL, taken from its issuer", source: rfcEC + ".1.1", unreadable: true, make: func(_ *kitchen, c *certificate) {
			c.spki = sequence(sequence(oid(1, 2, 840, 10045, 2, 1), null), bitString(point(c.key)))
		}},
		{id: "curve-explicit", title: "with P-384 written out as parameters", level: Strict, source: rfcEC + ".1.1", unreadable: true, make: func(_ *kitchen, c *certificate) {
			roomFor(c)
			c.spki = explicitCurveKey(point(c.key), generator())
		}},
		{id: "curve-explicit-generator", title: "with a curve whose generator is its own public key", source: "CVE-2020-0601", unreadable: true, make: func(_ *kitchen, c *certificate) {
			roomFor(c)
			c.spki = explicitCurveKey(point(c.key), point(c.key))
		}},
		{id: "key-unknown-algorithm", title: "with a key of an algorithm that nobody knows", source: rfcEC, make: func(_ *kitchen, c *certificate) {
			c.spki = sequence(sequence(oid(1, 3, 6, 1, 4, 1, 32473, 2)), bitString(point(c.key)))
		}, places: issuers},
	}
}

// roomFor leaves out what a certificate need not have: with a curve written out
// it would have more than the 1024 bytes that are allowed.
func roomFor(c *certificate) {
	c.drop(idCRLPoints)
	c.drop(idAuthorityKey)
	c.drop(idSubjectKey)
}

// generator of P-384, uncompressed.
func generator() []byte {
	params := p384.Params()
	out := append([]byte{4}, params.Gx.FillBytes(make([]byte, 48))...)
	return append(out, params.Gy.FillBytes(make([]byte, 48))...)
}
