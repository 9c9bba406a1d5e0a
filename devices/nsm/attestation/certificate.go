package attestation

import (
	"crypto/ecdsa"
	"crypto/sha1" // key identifier of RFC 5280 4.2.1.2 (1), not a protection
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// A link is one certificate of a chain with its key and its issuer's link, nil
// for the root. Links are never changed, so that a leaf keeps the very chain it
// was issued under when certificates above it are issued anew.
type link struct {
	cert   *x509.Certificate
	key    signer
	parent *link
}

// bundle is the `cabundle` of a document whose leaf was issued by l: DER
// certificates, root first.
func (l *link) bundle() [][]byte {
	var der [][]byte
	for ; l != nil; l = l.parent {
		der = append(der, l.cert.Raw)
	}
	slices.Reverse(der)
	return der
}

// usable reports whether l may sign something at now that has to stand
// until the given time. Chains are nested like that, because a leaf that
// outlives one of its issuers makes documents that stop verifying early.
func (l *link) usable(now, until time.Time) bool {
	return l != nil && !now.Before(l.cert.NotBefore) && !until.After(l.cert.NotAfter)
}

// A template is everything that differs between certificates of this PKI.
// Version 3, P-384 and ecdsa-with-SHA384 do not.
type template struct {
	subject             []byte // DER
	serial              []byte // big-endian
	notBefore, notAfter time.Time
	extensions          []pkix.Extension // in wire order
}

// issue makes the certificate of t for key; a nil parent makes it self-signed.
func (t template) issue(key signer, parent *link) (*link, error) {
	der, err := t.create(key, parent)
	if err != nil {
		return nil, fmt.Errorf("create certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read certificate back: %w", err)
	}
	return &link{cert: cert, key: key, parent: parent}, nil
}

// create gives the DER.
//
// All extensions go in as extra ones: crypto/x509 would put them in its own
// order, mark every key usage critical and copy the issuer's key identifier
// into each certificate, and AWS's have it otherwise.
func (t template) create(key signer, parent *link) ([]byte, error) {
	tmpl := &x509.Certificate{
		SerialNumber:       new(big.Int).SetBytes(t.serial),
		RawSubject:         t.subject,
		NotBefore:          t.notBefore,
		NotAfter:           t.notAfter,
		ExtraExtensions:    t.extensions,
		SignatureAlgorithm: x509.ECDSAWithSHA384,
	}
	issuer, issuerKey := &x509.Certificate{RawSubject: t.subject}, key
	if parent != nil {
		issuer, issuerKey = &x509.Certificate{RawSubject: parent.cert.RawSubject}, parent.key
	}
	return x509.CreateCertificate(nil, tmpl, issuer, key.Public(), issuerKey)
}

// Extensions of RFC 5280 section 4.2.1.
var (
	oidSubjectKeyID     = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidCRLPoints        = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidAuthorityKeyID   = asn1.ObjectIdentifier{2, 5, 29, 35}
)

// noPathLen stands for an absent pathLenConstraint, as in crypto/x509.
const noPathLen = -1

// derBasicConstraints is the one DER form of the extension's value: FALSE is a
// default and therefore never written. pathLen is at most 127.
func derBasicConstraints(ca bool, pathLen int) []byte {
	var content []byte
	if ca {
		content = append(content, 0x01, 0x01, 0xff)
	}
	if pathLen != noPathLen {
		content = append(content, 0x02, 0x01, byte(pathLen))
	}
	return append([]byte{0x30, byte(len(content))}, content...)
}

// derKeyUsage is the one DER form of a key usage among the first eight bits:
// bits from the left, trailing zero bits dropped.
func derKeyUsage(usage x509.KeyUsage) []byte {
	var bits, unused byte
	for i := range 8 {
		if usage&(1<<i) != 0 {
			bits |= 0x80 >> i
			unused = byte(7 - i)
		}
	}
	return []byte{0x03, 0x02, unused, bits}
}

func basicConstraints(ca bool, pathLen int) pkix.Extension {
	return pkix.Extension{Id: oidBasicConstraints, Critical: true, Value: derBasicConstraints(ca, pathLen)}
}

// keyUsage is critical in every CA certificate and not critical in a leaf.
func keyUsage(critical bool, usage x509.KeyUsage) pkix.Extension {
	return pkix.Extension{Id: oidKeyUsage, Critical: critical, Value: derKeyUsage(usage)}
}

// keyID is method (1) of RFC 5280 4.2.1.2, SHA-1 over the bits of the public
// key, which is what AWS's certificates hold (recomputed from three of them).
func keyID(key *ecdsa.PublicKey) ([]byte, error) {
	point, err := key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	sum := sha1.Sum(point) // see the import
	return sum[:], nil
}

func subjectKeyID(id []byte) pkix.Extension {
	return pkix.Extension{Id: oidSubjectKeyID, Value: append([]byte{0x04, byte(len(id))}, id...)}
}

// authorityKeyID has the keyIdentifier [0] alone, no issuer and serial.
func authorityKeyID(id []byte) pkix.Extension {
	n := byte(len(id))
	return pkix.Extension{Id: oidAuthorityKeyID, Value: append([]byte{0x30, n + 2, 0x80, n}, id...)}
}

// distributionPoint is DistributionPoint of RFC 5280 4.2.1.13 with a fullName.
type distributionPoint struct {
	Name struct {
		Full []asn1.RawValue `asn1:"tag:0"`
	} `asn1:"tag:0"`
}

func crlPoint(url string) (pkix.Extension, error) {
	var p distributionPoint
	p.Name.Full = []asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(url)}}
	value, err := asn1.Marshal([]distributionPoint{p})
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("encode distribution point: %w", err)
	}
	return pkix.Extension{Id: oidCRLPoints, Value: value}, nil
}
