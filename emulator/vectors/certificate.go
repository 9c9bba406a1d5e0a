package vectors

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha1" // key identifier of RFC 5280 4.2.1.2 (1), not a protection
	"crypto/x509"
	"slices"
	"time"
)

// A certificate is every element of X.509 (RFC 5280 section 4.1) as DER, so
// that each can be wrong by itself. Everything that depends on others is made
// when it is encoded: a changed certificate signs what is below it as before.
type certificate struct {
	version             []byte // [0], nil for none: version 1
	serial              []byte
	inner, outer        []byte // AlgorithmIdentifier in and around what is signed
	issuer              []byte // nil: the subject of the certificate above
	notBefore, notAfter []byte
	subject             []byte
	spki                []byte // nil: of key
	uniqueIDs           []byte // [1] and [2]
	extensions          []extension

	key    crypto.Signer
	signer crypto.Signer // nil: the key of the certificate above
	hash   crypto.Hash

	editTBS       func([]byte) []byte // before it is signed
	sign          func(tbs []byte) []byte
	editSignature func([]byte) []byte // the DER signature
	editBits      func([]byte) []byte // the BIT STRING around it
	edit          func([]byte) []byte // the certificate
}

// An extension of RFC 5280 section 4.2.
type extension struct {
	id       int // the last arc of 2.5.29.id
	critical bool
	value    []byte

	raw []byte // instead of all that, if not nil
}

const (
	idSubjectKey   = 14
	idKeyUsage     = 15
	idConstraints  = 19
	idCRLPoints    = 31
	idAuthorityKey = 35
)

func (e extension) encode() []byte {
	switch {
	case e.raw != nil:
		return e.raw
	case e.critical:
		return sequence(oid(2, 5, 29, e.id), boolean(0xff), octets(e.value))
	}
	return sequence(oid(2, 5, 29, e.id), octets(e.value))
}

// find is the extension with the id. There must be one.
func (c *certificate) find(id int) *extension {
	i := slices.IndexFunc(c.extensions, func(e extension) bool { return e.id == id })
	if i < 0 {
		broken("certificate has no extension 2.5.29.%d", id)
	}
	return &c.extensions[i]
}

func (c *certificate) drop(id int) {
	c.extensions = slices.DeleteFunc(c.extensions, func(e extension) bool { return e.id == id })
}

func (c *certificate) add(e ...extension) { c.extensions = append(c.extensions, e...) }

// AlgorithmIdentifiers of RFC 5758 section 3.2 and of others.
var (
	ecdsaSHA1   = sequence(oid(1, 2, 840, 10045, 4, 1))
	ecdsaSHA256 = sequence(oid(1, 2, 840, 10045, 4, 3, 2))
	ecdsaSHA384 = sequence(oid(1, 2, 840, 10045, 4, 3, 3))
	ecdsaSHA512 = sequence(oid(1, 2, 840, 10045, 4, 3, 4))
	rsaSHA384   = sequence(oid(1, 2, 840, 113549, 1, 1, 12), null)
	pureEd25519 = sequence(oid(1, 3, 101, 112))
)

// tbs is what is signed, TBSCertificate, with parent's name as the issuer's.
func (c *certificate) tbs(parent *certificate) []byte {
	issuer, spki := c.issuer, c.spki
	if issuer == nil {
		issuer = parent.subject
	}
	if spki == nil {
		spki = subjectKey(c.key)
	}
	var exts []byte
	if c.extensions != nil {
		var list [][]byte
		for _, e := range c.extensions {
			list = append(list, e.encode())
		}
		exts = tlv(0xa3, sequence(list...))
	}
	tbs := sequence(c.version, c.serial, c.inner, issuer, sequence(c.notBefore, c.notAfter), c.subject, spki, c.uniqueIDs, exts)
	if c.editTBS != nil {
		tbs = c.editTBS(tbs)
	}
	return tbs
}

// encode is the certificate as DER, issued by parent; nil: by itself.
func (c *certificate) encode(k *keyring, parent *certificate) []byte {
	if parent == nil {
		parent = c
	}
	tbs := c.tbs(parent)
	var signature []byte
	switch {
	case c.sign != nil:
		signature = c.sign(tbs)
	case c.signer != nil:
		signature = k.sign(c.signer, c.hash, tbs)
	default:
		signature = k.sign(parent.key, c.hash, tbs)
	}
	if c.editSignature != nil {
		signature = c.editSignature(signature)
	}
	bits := bitString(signature)
	if c.editBits != nil {
		bits = c.editBits(bits)
	}
	der := sequence(tbs, c.outer, bits)
	if c.edit != nil {
		der = c.edit(der)
	}
	return der
}

// algorithm says in both places how the certificate is signed, and signs so.
func (c *certificate) algorithm(id []byte, hash crypto.Hash) {
	c.inner, c.outer, c.hash = id, id, hash
}

func subjectKey(key crypto.Signer) []byte { return must(x509.MarshalPKIXPublicKey(key.Public())) }

// point is the uncompressed point of a key on a curve: 04, x, y.
func point(key crypto.Signer) []byte { return must(key.Public().(*ecdsa.PublicKey).Bytes()) }

func keyID(key crypto.Signer) []byte {
	sum := sha1.Sum(point(key)) // see the import
	return sum[:]
}

func constraints(ca bool, pathLen int) extension {
	var content []byte
	if ca {
		content = boolean(0xff)
	}
	if pathLen >= 0 {
		content = append(content, 0x02, 0x01, byte(pathLen))
	}
	return extension{id: idConstraints, critical: true, value: sequence(content)}
}

// Key usages of this PKI, DER of the BIT STRING.
var (
	usageCA       = []byte{0x03, 0x02, 0x01, 0x86} // digitalSignature, keyCertSign, cRLSign
	usageInstance = []byte{0x03, 0x02, 0x02, 0x04} // keyCertSign
	usageLeaf     = []byte{0x03, 0x02, 0x06, 0xc0} // digitalSignature, nonRepudiation
)

func usage(critical bool, value []byte) extension {
	return extension{id: idKeyUsage, critical: critical, value: value}
}

func subjectKeyID(id []byte) extension {
	return extension{id: idSubjectKey, value: octets(id)}
}

func authorityKeyID(id []byte) extension {
	return extension{id: idAuthorityKey, value: sequence(tlv(0x80, id))}
}

func crlPoint(url string) extension {
	return extension{id: idCRLPoints, value: sequence(sequence(tlv(0xa0, tlv(0xa0, tlv(0x86, []byte(url))))))}
}

// valid sets the validity in the form that RFC 5280 section 4.1.2.5 demands.
func (c *certificate) valid(from, until time.Time) {
	c.notBefore, c.notAfter = dateTime(from), dateTime(until)
}

func dateTime(t time.Time) []byte {
	if t.UTC().Year() >= 2050 {
		return generalizedTime(t)
	}
	return utcTime(t)
}

// replaceOnce replaces the one place where old stands in b.
func replaceOnce(b, old, replacement []byte) []byte {
	if bytes.Count(b, old) != 1 {
		broken("%x stands %d times in what is to be edited", old, bytes.Count(b, old))
	}
	return bytes.Replace(b, old, replacement, 1)
}
