package attestation

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"time"
)

// Validity of the root: AWS's, so that a clock may be set anywhere between.
var (
	rootNotBefore = time.Date(2019, time.October, 28, 13, 28, 5, 0, time.UTC)
	rootNotAfter  = time.Date(2049, time.October, 28, 14, 28, 5, 0, time.UTC)
)

// Lifetimes as measured on eleven genuine documents.
//
// Regional and zonal certificates begin an hour before issue, as AWS Private CA
// makes them. When instance certificates begin is not known; those seen were
// 25 minutes to 4 hours older than the first leaf below them, so they get the
// same hour here.
const (
	backdated    = time.Hour
	regionalLife = 20*24*time.Hour + backdated
	zonalLifeMin = 134 * time.Hour // up to zonalSpread hours more
	zonalSpread  = 11              // 134 to 144 hours were seen
	instanceLife = 24 * time.Hour

	leafBackdated = 3 * time.Second
	leafLife      = 3 * time.Hour // from issue
)

const (
	usageCA       = x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	usageInstance = x509.KeyUsageCertSign
	usageLeaf     = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
)

// Serial numbers: 16 random bytes, 20 in instance certificates.
const (
	caSerialSize       = 16
	instanceSerialSize = 20
)

func (a *Authority) issueRoot() (*link, error) {
	id, err := a.identity("root")
	if err != nil {
		return nil, err
	}
	subject, err := marshalName(a.names.rootSubject(a.names.root))
	if err != nil {
		return nil, err
	}
	root, err := template{
		subject:   subject,
		serial:    id.serial(caSerialSize),
		notBefore: rootNotBefore,
		notAfter:  rootNotAfter,
		extensions: []pkix.Extension{
			basicConstraints(true, noPathLen), subjectKeyID(id.keyID), keyUsage(true, usageCA),
		},
	}.issue(id.key, nil)
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	return root, nil
}

// regional gives the certificate of a region that stands until the given time,
// a new one with a new name and key if the present one does not. a.mu is held.
func (a *Authority) regional(region string, now, until time.Time) (*link, error) {
	if l := a.regionals[region]; l.usable(now, until) {
		return l, nil
	}
	notBefore := now.Add(-backdated)
	notAfter := notBefore.Add(regionalLife)
	if notBefore.Before(a.root.cert.NotBefore) || !a.root.usable(now, notAfter) {
		return nil, fmt.Errorf("regional certificate from %s to %s: %w", stamp(notBefore), stamp(notAfter), ErrClock)
	}
	id, err := a.identity(label("regional", region, now))
	if err != nil {
		return nil, err
	}
	subject, err := marshalName(a.names.rootSubject(fmt.Sprintf("%s.%s.%s", id.name(), region, a.names.suffix)))
	if err != nil {
		return nil, err
	}
	// One list per issuer: the root's name of it never changes.
	list, err := a.listID("root")
	if err != nil {
		return nil, err
	}
	crl, err := crlPoint(fmt.Sprintf(a.names.rootCRL, list))
	if err != nil {
		return nil, err
	}
	l, err := template{
		subject:    subject,
		serial:     id.serial(caSerialSize),
		notBefore:  notBefore,
		notAfter:   notAfter,
		extensions: caExtensions(2, id, a.root, crl),
	}.issue(id.key, a.root)
	if err != nil {
		return nil, fmt.Errorf("regional: %w", err)
	}
	a.regionals[region] = l
	return l, nil
}

// zonal is regional one level down. A region has one zone here. a.mu is held.
func (a *Authority) zonal(region string, now, until time.Time) (*link, error) {
	if l := a.zonals[region]; l.usable(now, until) {
		return l, nil
	}
	id, err := a.identity(label("zonal", region, now))
	if err != nil {
		return nil, err
	}
	notBefore := now.Add(-backdated)
	notAfter := notBefore.Add(zonalLifeMin + time.Duration(id.extra()%zonalSpread)*time.Hour)
	parent, err := a.regional(region, now, notAfter)
	if err != nil {
		return nil, err
	}
	subject, err := marshalName(a.names.zonalSubject(fmt.Sprintf("%s.zonal.%s.%s", id.name(), region, a.names.suffix)))
	if err != nil {
		return nil, err
	}
	list, err := a.listID(parent.cert.Subject.CommonName)
	if err != nil {
		return nil, err
	}
	crl, err := crlPoint(fmt.Sprintf(a.names.regionalCRL, region, list))
	if err != nil {
		return nil, err
	}
	l, err := template{
		subject:    subject,
		serial:     id.serial(caSerialSize),
		notBefore:  notBefore,
		notAfter:   notAfter,
		extensions: caExtensions(1, id, parent, crl),
	}.issue(id.key, parent)
	if err != nil {
		return nil, fmt.Errorf("zonal: %w", err)
	}
	a.zonals[region] = l
	return l, nil
}

// instance is zonal one level down. Its key stays when the certificate is
// issued anew: two genuine documents from one instance, with certificates 39
// minutes apart, have one instance key. a.mu is held.
func (a *Authority) instance(k instanceKey, now, until time.Time) (*link, error) {
	if l := a.instances[k]; l.usable(now, until) {
		return l, nil
	}
	notBefore := now.Add(-backdated)
	notAfter := notBefore.Add(instanceLife)
	parent, err := a.zonal(k.region, now, notAfter)
	if err != nil {
		return nil, err
	}
	id, err := a.identity("instance " + k.region + " " + k.instance)
	if err != nil {
		return nil, err
	}
	serial, err := a.seed.derive(label("instance serial", k.region+" "+k.instance, now), instanceSerialSize)
	if err != nil {
		return nil, err
	}
	subject, err := marshalName(a.names.instanceSubject(fmt.Sprintf("%s.%s.%s", k.instance, k.region, a.names.suffix)))
	if err != nil {
		return nil, err
	}
	l, err := template{
		subject:   subject,
		serial:    serial,
		notBefore: notBefore,
		notAfter:  notAfter,
		extensions: []pkix.Extension{
			basicConstraints(true, 0), keyUsage(true, usageInstance),
			subjectKeyID(id.keyID), authorityKeyID(parent.cert.SubjectKeyId),
		},
	}.issue(id.key, parent)
	if err != nil {
		return nil, fmt.Errorf("instance: %w", err)
	}
	a.instances[k] = l
	return l, nil
}

// caExtensions are those of regional and zonal certificates, in AWS's order.
func caExtensions(pathLen int, id *identity, parent *link, crl pkix.Extension) []pkix.Extension {
	return []pkix.Extension{
		basicConstraints(true, pathLen), authorityKeyID(parent.cert.SubjectKeyId),
		subjectKeyID(id.keyID), keyUsage(true, usageCA), crl,
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
