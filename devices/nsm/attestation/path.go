package attestation

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
)

// readCertificates fills leaf, path and pathErr.
func (v *verification) readCertificates() {
	n := len(v.doc.CABundle)
	path := make([]*x509.Certificate, n+1)
	for i := range path {
		der := v.doc.Certificate
		if i > 0 {
			der = v.doc.CABundle[n-i] // the bundle is root first
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			if v.pathErr == nil {
				v.pathErr = fail(ErrChain, "%s cannot be read: %v", place(i, n+1), err)
			}
			continue
		}
		if i == 0 {
			v.leaf = cert
		}
		path[i] = cert
	}
	if v.pathErr == nil {
		v.path = path
	}
}

// place names a position in a path of n certificates, leaf first.
func place(i, n int) string {
	switch {
	case i == 0:
		return "leaf certificate"
	case i == n-1:
		return "root certificate"
	case n == 5:
		return []string{"instance", "zonal", "regional"}[i-1] + " certificate"
	}
	return fmt.Sprintf("issuing certificate %d", i)
}

// describe is place with the common name, which comes from outside and is
// quoted for that reason.
func describe(path []*x509.Certificate, i int) string {
	return fmt.Sprintf("%s %.80q", place(i, len(path)), path[i].Subject.CommonName)
}

// chain validates the one path there is: leaf, cabundle from its end to its
// beginning. No path is searched for, and nothing but the pinned root is
// trusted. This is AWS's list, section 3.2.3, and RFC 5280 section 6.1 without
// the extensions that are refused below.
func (v *verification) chain() outcome {
	if v.pathErr != nil {
		return failed(v.pathErr)
	}
	if err := v.checkRoot(); err != nil {
		return failed(err)
	}
	for i, cert := range v.path {
		for _, rule := range rules {
			if problem := rule(cert, i, len(v.path)); problem != "" {
				return failed(fail(ErrChain, "%s %s", describe(v.path, i), problem))
			}
		}
	}
	for i, cert := range v.path[:len(v.path)-1] {
		if problem := notIssuedBy(cert, v.path[i+1]); problem != "" {
			return failed(fail(ErrChain, "%s %s", describe(v.path, i), problem))
		}
	}
	return passed("%d certificates, up to pinned %s", len(v.path), describe(v.path, len(v.path)-1))
}

func (v *verification) pinned(cert *x509.Certificate) bool {
	return slices.ContainsFunc(v.Roots, func(root *x509.Certificate) bool {
		return bytes.Equal(root.Raw, cert.Raw)
	})
}

func (v *verification) checkRoot() error {
	last := len(v.path) - 1
	root := v.path[last]
	if v.pinned(root) {
		return nil
	}
	why := ""
	if slices.ContainsFunc(v.path[:last], v.pinned) {
		why = ": the pinned root is elsewhere in cabundle, and it must come first"
	} else if slices.ContainsFunc(v.Roots, func(r *x509.Certificate) bool { return bytes.Equal(r.RawSubject, root.RawSubject) }) {
		why = ": it has the name of a pinned root, but it is another certificate"
	}
	return fail(ErrChain, "%s (SHA-256 %x) is not pinned%s", describe(v.path, last), sha256.Sum256(root.Raw), why)
}

// rules apply to every certificate of a path of n, leaf first, and say what is
// wrong. Duplicate extensions, bytes after the certificate and inconsistent
// algorithm fields are refused by crypto/x509 when it reads the certificate; one
// of version 1 or 2 has no extensions and therefore no key usage.
var rules = []func(cert *x509.Certificate, i, n int) string{
	algorithms, structure, extensions, constraints, usage,
}

func algorithms(cert *x509.Certificate, _, _ int) string {
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return fmt.Sprintf("has a key of type %v, want ECDSA", cert.PublicKeyAlgorithm)
	}
	if key.Curve != elliptic.P384() {
		return fmt.Sprintf("has a key on %s, want P-384", key.Curve.Params().Name)
	}
	if cert.SignatureAlgorithm != x509.ECDSAWithSHA384 {
		return fmt.Sprintf("is signed with %v, want ECDSA-SHA384", cert.SignatureAlgorithm)
	}
	return ""
}

// Extensions that narrow what may stand below a certificate (RFC 5280 4.2.1.10,
// .11 and .14). No certificate of this PKI has one, so they are refused instead
// of being processed.
var refused = map[string]string{
	"2.5.29.30": "name constraints",
	"2.5.29.36": "policy constraints",
	"2.5.29.54": "inhibit anyPolicy",
}

func extensions(cert *x509.Certificate, _, _ int) string {
	for _, e := range cert.Extensions {
		if name, ok := refused[e.Id.String()]; ok {
			return "has " + name
		}
		known := e.Id.Equal(oidBasicConstraints) || e.Id.Equal(oidKeyUsage)
		if e.Critical && !known {
			return fmt.Sprintf("has critical extension %v, which is not understood", e.Id)
		}
	}
	return ""
}

func extension(cert *x509.Certificate, oid asn1.ObjectIdentifier) (value []byte, critical, ok bool) {
	for _, e := range cert.Extensions {
		if e.Id.Equal(oid) {
			return e.Value, e.Critical, true
		}
	}
	return nil, false, false
}

// constraints checks basicConstraints. The value is compared with its one DER
// form: crypto/x509 ignores bytes after its fields, and takes an explicit FALSE.
func constraints(cert *x509.Certificate, i, n int) string {
	value, critical, ok := extension(cert, oidBasicConstraints)
	pathLen := noPathLen
	if ok {
		pathLen = cert.MaxPathLen
	}
	if ok && (pathLen > 127 || !bytes.Equal(value, derBasicConstraints(cert.IsCA, pathLen))) {
		return fmt.Sprintf("has basic constraints that are not DER: %x", value)
	}
	if i == 0 {
		switch {
		case cert.IsCA:
			return "is a CA"
		case pathLen != noPathLen:
			return "has a path length"
		}
		return ""
	}
	switch below := i - 1; { // CAs between this one and the leaf
	case !ok || !critical:
		return "has no critical basic constraints"
	case !cert.IsCA:
		return "is not a CA"
	case pathLen != noPathLen && pathLen < below:
		return fmt.Sprintf("has path length %d, but %d CAs are below it", pathLen, below)
	case i < n-1 && bytes.Equal(cert.RawSubject, cert.RawIssuer):
		return "is self-issued, but not the root"
	}
	return ""
}

func usage(cert *x509.Certificate, i, _ int) string {
	value, _, ok := extension(cert, oidKeyUsage)
	if !ok {
		return "has no key usage"
	}
	if !bytes.Equal(value, derKeyUsage(cert.KeyUsage)) {
		return fmt.Sprintf("has a key usage that is not DER: %x", value)
	}
	sign := cert.KeyUsage&x509.KeyUsageCertSign != 0
	switch {
	case i == 0 && cert.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return "has no digitalSignature in its key usage"
	case i == 0 && sign:
		return "has keyCertSign in its key usage"
	case i > 0 && !sign:
		return "has no keyCertSign in its key usage"
	}
	return ""
}

// notIssuedBy says why cert is not issuer's.
func notIssuedBy(cert, issuer *x509.Certificate) string {
	if !bytes.Equal(cert.RawIssuer, issuer.RawSubject) {
		return fmt.Sprintf("was issued by %.80q, not by %.80q", cert.Issuer.CommonName, issuer.Subject.CommonName)
	}
	if len(cert.AuthorityKeyId) > 0 && len(issuer.SubjectKeyId) > 0 && !bytes.Equal(cert.AuthorityKeyId, issuer.SubjectKeyId) {
		return "names another key of its issuer"
	}
	if err := cert.CheckSignatureFrom(issuer); err != nil {
		return fmt.Sprintf("does not verify under the key of %.80q: %v", issuer.Subject.CommonName, err)
	}
	return ""
}
