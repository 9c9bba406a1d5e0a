package attestation

import (
	"bytes"
	"crypto/x509"
	"regexp"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// algorithmES384 is the AlgorithmIdentifier of ecdsa-with-SHA384: it has no
// parameters, not even NULL (RFC 5758 section 3.2).
var algorithmES384 = []byte{0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03}

// Forms of a date, RFC 5280 section 4.1.2.5: to the second, and UTC.
var (
	utcTime         = regexp.MustCompile(`^[0-9]{12}Z$`)
	generalizedTime = regexp.MustCompile(`^[0-9]{14}Z$`)
)

// structure refuses what crypto/x509 reads over: elements after the last one of
// a certificate and of what is signed in it, parameters of the signature
// algorithm, dates without seconds or with an offset. Bytes after the signature
// are not even signed: with them, anyone could write a certificate in other
// bytes, past a list of revoked ones.
func structure(cert *x509.Certificate, _, _ int) string {
	in := cryptobyte.String(cert.Raw)
	var certificate, tbs, inner, outer, validity cryptobyte.String
	if !in.ReadASN1(&certificate, asn1.SEQUENCE) ||
		!certificate.ReadASN1(&tbs, asn1.SEQUENCE) ||
		!certificate.ReadASN1Element(&outer, asn1.SEQUENCE) ||
		!certificate.SkipASN1(asn1.BIT_STRING) {
		return "is not a sequence of what is signed, algorithm and signature"
	}
	if !certificate.Empty() {
		return "goes on after its signature"
	}
	if !tbs.SkipOptionalASN1(asn1.Tag(0).Constructed().ContextSpecific()) || // version
		!tbs.SkipASN1(asn1.INTEGER) ||
		!tbs.ReadASN1Element(&inner, asn1.SEQUENCE) ||
		!tbs.SkipASN1(asn1.SEQUENCE) || // issuer
		!tbs.ReadASN1(&validity, asn1.SEQUENCE) ||
		!tbs.SkipASN1(asn1.SEQUENCE) || // subject
		!tbs.SkipASN1(asn1.SEQUENCE) || // public key
		!tbs.SkipOptionalASN1(asn1.Tag(1).ContextSpecific()) || // unique ids
		!tbs.SkipOptionalASN1(asn1.Tag(2).ContextSpecific()) ||
		!tbs.SkipOptionalASN1(asn1.Tag(3).Constructed().ContextSpecific()) { // extensions
		return "has other fields than a certificate"
	}
	if !tbs.Empty() {
		return "goes on after its extensions"
	}
	if !bytes.Equal(inner, algorithmES384) || !bytes.Equal(outer, algorithmES384) {
		return "has parameters in its signature algorithm"
	}
	for !validity.Empty() {
		var date cryptobyte.String
		var tag asn1.Tag
		if !validity.ReadAnyASN1(&date, &tag) || !wellFormed(tag, date) {
			return "has a date that is not in UTC to the second"
		}
	}
	return ""
}

func wellFormed(tag asn1.Tag, date []byte) bool {
	switch tag {
	case asn1.UTCTime:
		return utcTime.Match(date)
	case asn1.GeneralizedTime:
		return generalizedTime.Match(date)
	}
	return false
}
