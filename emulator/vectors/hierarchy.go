package vectors

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Places in a chain, root first.
const (
	root = iota
	regional
	zonal
	instance
	leaf
	chainSize
)

var placeNames = [chainSize]string{"root", "regional", "zonal", "instance", "leaf"}

// Identity of the one enclave most documents are about.
const (
	region     = "us-east-1"
	instanceID = "i-0a1b2c3d4e5f60718"
	slotUID    = 0x0199abcdef012345
)

var moduleID = fmt.Sprintf("%s-enc%016x", instanceID, uint64(slotUID))

// names are the strings that differ between an emulated PKI and one that
// pretends to be AWS's.
type names struct {
	root, suffix, organization, unit string
}

var (
	emulatedNames = names{"nitrolab-vectors.nitro-enclaves", "nitrolab-vectors", "nitrolab emulated, not AWS", "emulated"}

	// awsNames are what an attacker writes into certificates of its own. No case
	// has them below a root that the verifier is told to trust.
	awsNames = names{"aws.nitro-enclaves", "aws.nitro-enclaves", "Amazon", "AWS"}
)

// A world is one PKI: its names, its keys by a label, and the time at which its
// leaf was issued. Two worlds with different labels have no key in common.
type world struct {
	keys   *keyring
	label  string
	names  names
	issued time.Time

	// profile2021 gives the certificates the shapes of 2021 and 2022: an instance
	// certificate without key identifiers, a leaf of exactly three hours.
	profile2021 bool
}

// chain makes the five certificates, root first, as measured on genuine
// documents: names and their order and string types, extensions and their order
// and criticality, lifetimes.
func (w world) chain() []*certificate {
	n, k := w.names, w.keys
	us := attribute{country, printable("US")}
	o, ou := attribute{organization, utf8String(n.organization)}, attribute{unit, utf8String(n.unit)}
	washington := []attribute{us, {state, utf8String("Washington")}, {locality, utf8String("Seattle")}, o, ou}
	cn := func(format string, args ...any) attribute {
		return attribute{commonName, utf8String(fmt.Sprintf(format, args...))}
	}
	subjects := [chainSize][]byte{
		name(us, o, ou, cn("%s", n.root)),
		name(us, o, ou, cn("%x.%s.%s", w.random("regional name", 8), region, n.suffix)),
		name(cn("%x.zonal.%s.%s", w.random("zonal name", 8), region, n.suffix), ou, o, us,
			attribute{state, utf8String("WA")}, attribute{locality, utf8String("Seattle")}),
		name(append(washington[:5:5], cn("%s.%s.%s", instanceID, region, n.suffix))...),
		name(append(washington[:5:5], cn("%s.%s.aws", moduleID, region))...),
	}
	issued := w.issued.Truncate(time.Second)
	serial := binary.BigEndian.AppendUint64(nil, slotUID)
	serial = binary.BigEndian.AppendUint64(serial, uint64(issued.Unix()))

	chain := make([]*certificate, chainSize)
	for i := range chain {
		c := &certificate{
			version: []byte{0xa0, 0x03, 0x02, 0x01, 0x02},
			serial:  unsigned(w.random(placeNames[i]+" serial", 16)),
			subject: subjects[i],
			key:     k.p384(w.label + " " + placeNames[i]),
		}
		c.algorithm(ecdsaSHA384, sha384)
		chain[i] = c
	}
	id := func(i int) []byte { return keyID(chain[i].key) }

	c := chain[root]
	c.valid(time.Date(2019, time.October, 28, 13, 28, 5, 0, time.UTC), time.Date(2049, time.October, 28, 14, 28, 5, 0, time.UTC))
	c.add(constraints(true, -1), subjectKeyID(id(root)), usage(true, usageCA))

	c = chain[regional]
	c.valid(issued.Add(-time.Hour), issued.Add(20*24*time.Hour))
	c.add(constraints(true, 2), authorityKeyID(id(root)), subjectKeyID(id(regional)), usage(true, usageCA),
		crlPoint("http://crl.nitrolab-emulated.invalid/crl/"+w.uuid("root")+".crl"))

	c = chain[zonal]
	c.valid(issued.Add(-time.Hour), issued.Add(139*time.Hour))
	c.add(constraints(true, 1), authorityKeyID(id(regional)), subjectKeyID(id(zonal)), usage(true, usageCA),
		crlPoint("http://crl-"+region+".nitrolab-emulated.invalid/crl/"+w.uuid("regional")+".crl"))

	c = chain[instance]
	c.serial = unsigned(w.random("instance serial", 20))
	c.valid(issued.Add(-time.Hour), issued.Add(23*time.Hour))
	c.add(constraints(true, 0), usage(true, usageInstance))
	if !w.profile2021 {
		c.add(subjectKeyID(id(instance)), authorityKeyID(id(zonal)))
	}

	c = chain[leaf]
	c.serial = unsigned(serial)
	c.valid(issued.Add(-3*time.Second), issued.Add(3*time.Hour))
	if w.profile2021 {
		c.valid(issued, issued.Add(3*time.Hour))
	}
	c.add(constraints(false, -1), usage(false, usageLeaf))
	return chain
}

// random is n bytes whose top bit is clear, so that a serial number made of
// them has as many bytes in DER.
func (w world) random(label string, n int) []byte {
	b := w.keys.bytes(w.label+" "+label, n)
	b[0] = b[0]&0x7f | 0x40
	return b
}

// uuid is the version 4 UUID in the URL of an issuer's revocation list.
func (w world) uuid(issuer string) string {
	b := w.keys.bytes(w.label+" revocation list "+issuer, 16)
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
