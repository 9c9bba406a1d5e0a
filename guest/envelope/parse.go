package envelope

import (
	"crypto/aes"
	"crypto/sha256"
)

// Object identifiers, as the content of their TLV.
const (
	oidEnvelopedData = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03" // 1.2.840.113549.1.7.3, RFC 5652 section 6.1
	oidData          = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01" // 1.2.840.113549.1.7.1, RFC 5652 section 4
	oidRSAESOAEP     = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07" // 1.2.840.113549.1.1.7, RFC 4055 section 4.1
	oidMGF1          = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08" // 1.2.840.113549.1.1.8, RFC 4055 section 2.2
	oidSHA256        = "\x60\x86\x48\x01\x65\x03\x04\x02\x01" // 2.16.840.1.101.3.4.2.1, RFC 4055 section 2.1
	oidAES256CBC     = "\x60\x86\x48\x01\x65\x03\x04\x01\x2a" // 2.16.840.1.101.3.4.1.42, RFC 3565 section 4.1
)

// A message is what matters of an EnvelopedData. Its slices are parts of the input,
// but for a content that came in several pieces.
type message struct {
	keyID        []byte // SHA-256 of the recipient's SubjectPublicKeyInfo
	encryptedKey []byte
	iv           []byte // one AES block
	content      []byte // one or more AES blocks
}

// parse reads a ContentInfo with an EnvelopedData (RFC 5652 sections 3 and 6.1).
func parse(b []byte) (*message, error) {
	if len(b) > MaxSize {
		return nil, malformed("%d bytes, at most %d are possible", len(b), MaxSize)
	}
	var m message
	top := &scope{decoder: new(decoder), what: "the envelope", rest: b}
	info := top.enter(tagSequence, "ContentInfo")
	info.expect(tagOID, oidEnvelopedData, "contentType")
	explicit := info.enter(tagContext0, "content")
	enveloped := explicit.enter(tagSequence, "EnvelopedData")
	// Version 2 is that of a subjectKeyIdentifier without originatorInfo and
	// unprotectedAttrs (RFC 5652 section 6.1). So neither is looked for.
	enveloped.expect(tagInteger, "\x02", "version of EnvelopedData")
	m.recipient(enveloped)
	m.encryptedContent(enveloped)
	enveloped.leave()
	explicit.leave()
	info.leave()
	top.leave()
	if top.err != nil {
		return nil, top.err
	}
	return &m, nil
}

// recipient reads RecipientInfos with one KeyTransRecipientInfo (RFC 5652 section
// 6.2.1).
func (m *message) recipient(enveloped *scope) {
	infos := enveloped.enter(tagSet, "RecipientInfos")
	info := infos.enter(tagSequence, "KeyTransRecipientInfo")
	info.expect(tagInteger, "\x02", "version of KeyTransRecipientInfo")
	m.keyID = info.primitive(tagPrimitive0, "subjectKeyIdentifier")
	if len(m.keyID) != sha256.Size {
		info.fail("subjectKeyIdentifier of %d bytes, a SHA-256 has %d", len(m.keyID), sha256.Size)
	}
	algorithm := info.enter(tagSequence, "keyEncryptionAlgorithm")
	algorithm.expect(tagOID, oidRSAESOAEP, "keyEncryptionAlgorithm")
	oaepParameters(algorithm)
	algorithm.leave()
	m.encryptedKey = info.primitive(tagOctetString, "encryptedKey")
	info.leave()
	if infos.peek() == tagSequence {
		infos.fail("more than one recipient")
	}
	infos.leave()
}

// oaepParameters reads RSAES-OAEP-params (RFC 4055 section 4.1). SHA-1 is their
// default, so both hashes must be there; the label is empty by default, and any
// pSourceFunc is one too many.
func oaepParameters(algorithm *scope) {
	params := algorithm.enter(tagSequence, "RSAES-OAEP-params")
	hash := params.enter(tagContext0, "hashFunc")
	sha256Identifier(hash, "hashFunc")
	hash.leave()
	mask := params.enter(tagContext1, "maskGenFunc")
	mgf := mask.enter(tagSequence, "maskGenFunc")
	mgf.expect(tagOID, oidMGF1, "maskGenFunc")
	sha256Identifier(mgf, "hash of MGF1")
	mgf.leave()
	mask.leave()
	params.leave()
}

// sha256Identifier reads an AlgorithmIdentifier, whose parameters are NULL or
// absent: a reader has to take both (RFC 4055 section 2.1).
func sha256Identifier(s *scope, what string) {
	algorithm := s.enter(tagSequence, what)
	algorithm.expect(tagOID, oidSHA256, what)
	if algorithm.peek() == tagNull {
		algorithm.expect(tagNull, "", "parameters of "+what)
	}
	algorithm.leave()
}

// encryptedContent reads EncryptedContentInfo (RFC 5652 section 6.1).
func (m *message) encryptedContent(enveloped *scope) {
	info := enveloped.enter(tagSequence, "EncryptedContentInfo")
	info.expect(tagOID, oidData, "type of the encrypted content")
	algorithm := info.enter(tagSequence, "contentEncryptionAlgorithm")
	algorithm.expect(tagOID, oidAES256CBC, "contentEncryptionAlgorithm")
	m.iv = algorithm.primitive(tagOctetString, "IV")
	if len(m.iv) != aes.BlockSize {
		algorithm.fail("IV of %d bytes, %d are needed", len(m.iv), aes.BlockSize)
	}
	algorithm.leave()
	if info.peek() == tagPrimitive0 {
		m.content = info.primitive(tagPrimitive0, "encryptedContent")
	} else {
		pieces := info.enter(tagContext0, "encryptedContent")
		for pieces.peek() == tagOctetString {
			m.content = append(m.content, pieces.primitive(tagOctetString, "piece of the content")...)
		}
		pieces.leave()
	}
	if n := len(m.content); n == 0 || n%aes.BlockSize != 0 {
		info.fail("encrypted content of %d bytes is not in AES blocks", n)
	}
	info.leave()
}
