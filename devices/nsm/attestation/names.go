package attestation

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
)

// Names says which subject names the certificates of an [Authority] carry. It
// changes names and nothing else: with either value the root is the Authority's
// own key, which no verifier that pins AWS's root accepts.
type Names uint8

const (
	// NamesEmulated, the zero value, names nitrolab where AWS's certificates
	// name Amazon and AWS, so that nobody takes the root for AWS's. The common
	// name of the leaf is the one exception: it is `<module_id>.<region>.aws`
	// here too.
	NamesEmulated Names = iota

	// NamesAWS gives every certificate exactly AWS's subject, including
	// CN=aws.nitro-enclaves for the root, and URLs of AWS's form for revocation
	// lists. For clients that compare names; it is still another key.
	NamesAWS
)

// String is "emulated" or "AWS".
func (n Names) String() string {
	switch n {
	case NamesEmulated:
		return "emulated"
	case NamesAWS:
		return "AWS"
	}
	return fmt.Sprintf("Names(%d)", uint8(n))
}

// nameSet holds the strings in which the two values of Names differ.
type nameSet struct {
	root         string // common name of the root
	suffix       string // ends the common names of regional, zonal, instance
	organization string
	unit         string
	rootCRL      string // format: UUID of the list
	regionalCRL  string // format: region twice, UUID of the list
}

// .invalid (RFC 2606) makes sure that nobody fetches an emulated list, and the
// arguments of regionalCRL are indexed because AWS names the region twice.
var nameSets = map[Names]nameSet{
	NamesEmulated: {
		root:         "nitrolab-emulated.nitro-enclaves",
		suffix:       "nitrolab-emulated",
		organization: "nitrolab emulated, not AWS",
		unit:         "emulated",
		rootCRL:      "http://crl.nitrolab-emulated.invalid/crl/%s.crl",
		regionalCRL:  "http://crl-%[1]s.nitrolab-emulated.invalid/crl/%[2]s.crl",
	},
	NamesAWS: {
		root:         "aws.nitro-enclaves",
		suffix:       "aws.nitro-enclaves",
		organization: "Amazon",
		unit:         "AWS",
		rootCRL:      "http://aws-nitro-enclaves-crl.s3.amazonaws.com/crl/%s.crl",
		regionalCRL:  "http://crl-%[1]s-aws-nitro-enclaves.s3.%[1]s.amazonaws.com/crl/%[2]s.crl",
	},
}

// maxCommonName is ub-common-name of RFC 5280 appendix A.1. Some parsers refuse
// longer ones.
const maxCommonName = 64

// Attribute types of RFC 5280 appendix A.1.
var (
	oidCountry      = asn1.ObjectIdentifier{2, 5, 4, 6}
	oidState        = asn1.ObjectIdentifier{2, 5, 4, 8}
	oidLocality     = asn1.ObjectIdentifier{2, 5, 4, 7}
	oidOrganization = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidUnit         = asn1.ObjectIdentifier{2, 5, 4, 11}
	oidCommonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
)

type attribute struct {
	oid   asn1.ObjectIdentifier
	value string
}

// rootSubject: order C, O, OU, CN. Regional subjects have the same order.
func (n nameSet) rootSubject(commonName string) []attribute {
	return []attribute{
		{oidCountry, "US"}, {oidOrganization, n.organization}, {oidUnit, n.unit},
		{oidCommonName, commonName},
	}
}

// zonalSubject: order CN, OU, O, C, ST, L, the one that differs from all
// others, with the state abbreviated.
func (n nameSet) zonalSubject(commonName string) []attribute {
	return []attribute{
		{oidCommonName, commonName}, {oidUnit, n.unit}, {oidOrganization, n.organization},
		{oidCountry, "US"}, {oidState, "WA"}, {oidLocality, "Seattle"},
	}
}

// instanceSubject: order C, ST, L, O, OU, CN. Leaf subjects have the same order.
func (n nameSet) instanceSubject(commonName string) []attribute {
	return []attribute{
		{oidCountry, "US"}, {oidState, "Washington"}, {oidLocality, "Seattle"},
		{oidOrganization, n.organization}, {oidUnit, n.unit}, {oidCommonName, commonName},
	}
}

// marshalName encodes one attribute per RDN. The country is a PrintableString
// and everything else a UTF8String, as in AWS's certificates; encoding/asn1
// would choose PrintableString wherever it fits.
func marshalName(attributes []attribute) ([]byte, error) {
	var name pkix.RDNSequence
	for _, a := range attributes {
		tag := asn1.TagUTF8String
		if a.oid.Equal(oidCountry) {
			tag = asn1.TagPrintableString
		}
		if a.oid.Equal(oidCommonName) && len(a.value) > maxCommonName {
			return nil, fmt.Errorf("common name %q: %d characters, at most %d are allowed",
				a.value, len(a.value), maxCommonName)
		}
		name = append(name, pkix.RelativeDistinguishedNameSET{{
			Type:  a.oid,
			Value: asn1.RawValue{Tag: tag, Bytes: []byte(a.value)},
		}})
	}
	return asn1.Marshal(name)
}
