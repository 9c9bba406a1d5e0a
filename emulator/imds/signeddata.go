package imds

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	encodingasn1 "encoding/asn1"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers of RFC 5652 and RFC 8017.
var (
	oidData          = encodingasn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData    = encodingasn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidContentType   = encodingasn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = encodingasn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningTime   = encodingasn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	oidSHA256        = encodingasn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidRSA           = encodingasn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
)

// Tags of the content and of signed attributes.
var (
	context0          = asn1.Tag(0).ContextSpecific().Constructed()
	constructedOctets = asn1.OCTET_STRING.Constructed()
)

// signedData is a CMS SignedData (RFC 5652 section 5) with its content and without
// certificates, in the form that AWS's metadata service gives: BER with indefinite
// lengths around the content, DER from the signer on. A client that takes DER alone
// fails here as it would there.
//
// There is one signer, with RSA and SHA-256, and signed attributes: content type,
// signing time and message digest.
func signedData(content []byte, cert *x509.Certificate, key *rsa.PrivateKey, now time.Time) ([]byte, error) {
	attributes, err := signedAttributes(content, now)
	if err != nil {
		return nil, err
	}
	// The signature is over them as a SET OF, whatever their tag in the message
	// (RFC 5652 section 5.4).
	var set cryptobyte.Builder
	set.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(attributes) })
	signed, err := set.Bytes()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(signed)
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	indefinite(&b, asn1.SEQUENCE, func() { // ContentInfo
		b.AddASN1ObjectIdentifier(oidSignedData)
		indefinite(&b, context0, func() {
			indefinite(&b, asn1.SEQUENCE, func() { // SignedData
				b.AddASN1Int64(1)
				b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { addAlgorithm(b, oidSHA256) })
				indefinite(&b, asn1.SEQUENCE, func() { // EncapsulatedContentInfo
					b.AddASN1ObjectIdentifier(oidData)
					indefinite(&b, context0, func() {
						indefinite(&b, constructedOctets, func() { b.AddASN1OctetString(content) })
					})
				})
				b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { addSigner(b, cert, attributes, sig) })
			})
		})
	})
	return b.Bytes()
}

// addSigner adds the SignerInfo (RFC 5652 section 5.3).
func addSigner(b *cryptobyte.Builder, cert *x509.Certificate, attributes, sig []byte) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(cert.RawIssuer)
			b.AddASN1BigInt(cert.SerialNumber)
		})
		addAlgorithm(b, oidSHA256)
		b.AddASN1(context0, func(b *cryptobyte.Builder) { b.AddBytes(attributes) })
		addAlgorithm(b, oidRSA)
		b.AddASN1OctetString(sig)
	})
}

// signedAttributes are the attributes without what is around them, in the order of
// DER, which is that of their lengths.
func signedAttributes(content []byte, now time.Time) ([]byte, error) {
	sum := sha256.Sum256(content)
	var b cryptobyte.Builder
	addAttribute(&b, oidContentType, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidData) })
	addAttribute(&b, oidSigningTime, func(b *cryptobyte.Builder) { b.AddASN1UTCTime(now) })
	addAttribute(&b, oidMessageDigest, func(b *cryptobyte.Builder) { b.AddASN1OctetString(sum[:]) })
	return b.Bytes()
}

func addAttribute(b *cryptobyte.Builder, oid encodingasn1.ObjectIdentifier, value cryptobyte.BuilderContinuation) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddASN1(asn1.SET, value)
	})
}

// addAlgorithm adds an AlgorithmIdentifier with the NULL that RSA and SHA-256 have.
func addAlgorithm(b *cryptobyte.Builder, oid encodingasn1.ObjectIdentifier) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddASN1NULL()
	})
}

// indefinite adds an element whose end is marked and not counted (X.690 section
// 8.1.3.6), which cryptobyte has not.
func indefinite(b *cryptobyte.Builder, tag asn1.Tag, content func()) {
	b.AddUint8(uint8(tag))
	b.AddUint8(0x80)
	content()
	b.AddUint16(0)
}
