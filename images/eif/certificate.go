package eif

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"strings"
)

// A CertificateInfo describes a signing certificate in nitro-cli's terms.
type CertificateInfo struct {
	// IssuerName maps OpenSSL's long names of attributes to their values. Of a
	// repeated attribute the last one stays.
	IssuerName map[string]string
	// Algorithm is OpenSSL's long name of the algorithm that signed the
	// certificate.
	Algorithm string
	// NotBefore and NotAfter are in OpenSSL's format, in GMT.
	NotBefore string
	NotAfter  string
	// Signature is that of the certificate itself, as upper-case hex with
	// colons.
	Signature string
}

// opensslTime is how OpenSSL's ASN1_TIME_print writes a date.
const opensslTime = "Jan _2 15:04:05 2006 GMT"

func describeCertificate(c *x509.Certificate) *CertificateInfo {
	info := &CertificateInfo{
		IssuerName: make(map[string]string),
		Algorithm:  algorithmName(c.SignatureAlgorithm),
		NotBefore:  c.NotBefore.UTC().Format(opensslTime),
		NotAfter:   c.NotAfter.UTC().Format(opensslTime),
		Signature:  strings.ReplaceAll(fmt.Sprintf("% X", c.Signature), " ", ":"),
	}
	for _, name := range c.Issuer.Names {
		info.IssuerName[attributeName(name.Type)] = fmt.Sprint(name.Value)
	}
	return info
}

// attributeNames are the long names of RFC 5280's name attributes.
var attributeNames = map[string]string{
	"2.5.4.3":                    "commonName",
	"2.5.4.4":                    "surname",
	"2.5.4.5":                    "serialNumber",
	"2.5.4.6":                    "countryName",
	"2.5.4.7":                    "localityName",
	"2.5.4.8":                    "stateOrProvinceName",
	"2.5.4.9":                    "streetAddress",
	"2.5.4.10":                   "organizationName",
	"2.5.4.11":                   "organizationalUnitName",
	"2.5.4.12":                   "title",
	"2.5.4.17":                   "postalCode",
	"2.5.4.42":                   "givenName",
	"2.5.4.43":                   "initials",
	"2.5.4.44":                   "generationQualifier",
	"2.5.4.46":                   "dnQualifier",
	"2.5.4.65":                   "pseudonym",
	"1.2.840.113549.1.9.1":       "emailAddress",
	"0.9.2342.19200300.100.1.1":  "userId",
	"0.9.2342.19200300.100.1.25": "domainComponent",
}

func attributeName(oid asn1.ObjectIdentifier) string {
	if name, ok := attributeNames[oid.String()]; ok {
		return name
	}
	return oid.String()
}

// algorithmName is the long name of a certificate's signature algorithm.
func algorithmName(a x509.SignatureAlgorithm) string {
	switch a {
	case x509.ECDSAWithSHA1:
		return "ecdsa-with-SHA1"
	case x509.ECDSAWithSHA256:
		return "ecdsa-with-SHA256"
	case x509.ECDSAWithSHA384:
		return "ecdsa-with-SHA384"
	case x509.ECDSAWithSHA512:
		return "ecdsa-with-SHA512"
	case x509.SHA1WithRSA:
		return "sha1WithRSAEncryption"
	case x509.SHA256WithRSA:
		return "sha256WithRSAEncryption"
	case x509.SHA384WithRSA:
		return "sha384WithRSAEncryption"
	case x509.SHA512WithRSA:
		return "sha512WithRSAEncryption"
	case x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS:
		return "rsassaPss"
	case x509.PureEd25519:
		return "ED25519"
	}
	return a.String()
}
