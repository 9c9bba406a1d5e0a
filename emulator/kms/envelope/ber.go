package envelope

import (
	"crypto/aes"
	"crypto/sha256"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// chunk is the length of the OCTET STRINGs that a long content is split into. KMS
// splits (commit 711c3f1 of aws-nitro-enclaves-sdk-c is about it); that it does
// so every 1000 bytes, as the library its output resembles, is a guess.
const chunk = 1000

// Whole TLVs that never change.
const (
	// oidEnvelopedData is 1.2.840.113549.1.7.3 (RFC 5652 section 6.1).
	oidEnvelopedData = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03"

	// oidData is 1.2.840.113549.1.7.1 (RFC 5652 section 4).
	oidData = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"

	// oidAES256CBC is 2.16.840.1.101.3.4.1.42 (RFC 3565 section 4.1).
	oidAES256CBC = "\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2a"

	version2 = "\x02\x01\x02"

	// oaepSHA256 is the AlgorithmIdentifier id-RSAES-OAEP with SHA-256 for the
	// label and for MGF1. The label is the default, and so left out (RFC 4055
	// sections 2.1, 2.2 and 4.1).
	oaepSHA256 = "\x30\x3c\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07" +
		"\x30\x2f\xa0\x0f" + sha256Identifier +
		"\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08" + sha256Identifier
	sha256Identifier = "\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00"
)

// Beginning and end of a TLV of indefinite length (X.690 section 8.1.3.6).
const (
	openSequence = "\x30\x80"
	openContext0 = "\xa0\x80"
	endOfContent = "\x00\x00"
)

// context0 is [0] IMPLICIT of an OCTET STRING.
const context0 = asn1.Tag(0) | 0x80

// assemble writes an EnvelopedData. It is a function of its arguments alone.
func assemble(keyID [sha256.Size]byte, encryptedKey []byte, iv [aes.BlockSize]byte, content []byte, form Form) []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, 256+len(encryptedKey)+len(content)+4*(1+len(content)/chunk)))
	raw := func(b *cryptobyte.Builder, tlv string) { b.AddBytes([]byte(tlv)) }

	raw(b, openSequence+oidEnvelopedData+openContext0+openSequence+version2)
	b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			raw(b, version2)
			b.AddASN1(context0, func(b *cryptobyte.Builder) { b.AddBytes(keyID[:]) })
			raw(b, oaepSHA256)
			b.AddASN1OctetString(encryptedKey)
		})
	})
	raw(b, openSequence+oidData)
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		raw(b, oidAES256CBC)
		b.AddASN1OctetString(iv[:])
	})
	if form == Primitive {
		b.AddASN1(context0, func(b *cryptobyte.Builder) { b.AddBytes(content) })
	} else {
		raw(b, openContext0)
		for len(content) > 0 {
			n := min(chunk, len(content))
			b.AddASN1OctetString(content[:n])
			content = content[n:]
		}
		raw(b, endOfContent)
	}
	raw(b, endOfContent) // EncryptedContentInfo
	raw(b, endOfContent) // EnvelopedData
	raw(b, endOfContent) // [0]
	raw(b, endOfContent) // ContentInfo
	return b.BytesOrPanic()
}
