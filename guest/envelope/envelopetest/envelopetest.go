// Package envelopetest makes envelopes for tests of package envelope and of its
// users: as a key service would, in DER or in BER, or with single parts put in that
// no key service would write.
package envelopetest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"slices"
)

// Encodings of a constructed TLV. TLV is also that of a primitive one.
type encoding func(tag byte, parts ...[]byte) []byte

// TLV has a definite length below 65536 in the shortest form (X.690 section 8.1.3).
func TLV(tag byte, parts ...[]byte) []byte {
	content := bytes.Join(parts, nil)
	n := len(content)
	switch {
	case n < 0x80:
		return slices.Concat([]byte{tag, byte(n)}, content)
	case n < 0x100:
		return slices.Concat([]byte{tag, 0x81, byte(n)}, content)
	}
	return slices.Concat([]byte{tag, 0x82, byte(n >> 8), byte(n)}, content)
}

// Indefinite has an indefinite length.
func Indefinite(tag byte, parts ...[]byte) []byte {
	return slices.Concat([]byte{tag, 0x80}, bytes.Join(parts, nil), []byte{0, 0})
}

// Object identifiers as TLVs.
var (
	EnvelopedData = []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03")
	Data          = []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01")
	RSAESOAEP     = []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07")
	MGF1          = []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08")
	SHA1          = []byte("\x06\x05\x2b\x0e\x03\x02\x1a")
	SHA256        = []byte("\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01")
	AES256CBC     = []byte("\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2a")
	AES256GCM     = []byte("\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2e")
)

// Null is NULL.
var Null = []byte{5, 0}

// Parts are those of an envelope, each a TLV unless it says otherwise. Change any
// of them and call DER or BER.
type Parts struct {
	ContentType       []byte
	Version           []byte
	Originator        []byte // nil: left out
	RecipientVersion  []byte
	Recipient         []byte // identifier of the recipient
	KeyAlgorithm      []byte
	EncryptedKey      []byte
	AfterRecipient    []byte // behind the recipient, in the set
	DataType          []byte
	ContentAlgorithm  []byte
	Content           []byte // what is encrypted, without a TLV
	Chunk             int    // of BER; 0 means 1000
	AfterContent      []byte // in EncryptedContentInfo
	AfterContentInfo  []byte // in EnvelopedData, such as unprotectedAttrs
	AfterEnveloped    []byte // in [0]
	AfterExplicit     []byte // in ContentInfo
	After             []byte // behind everything
	WholeContent      []byte // TLV in place of that with Content
	WholeRecipientSet []byte // TLV in place of that with the recipient
}

// OAEP is the AlgorithmIdentifier of id-RSAES-OAEP with these parameters.
func OAEP(params ...[]byte) []byte { return TLV(0x30, RSAESOAEP, TLV(0x30, params...)) }

// Hash and Mask are the parameters of OAEP, with an AlgorithmIdentifier of a hash.
func Hash(identifier []byte) []byte { return TLV(0xa0, identifier) }
func Mask(identifier []byte) []byte { return TLV(0xa1, TLV(0x30, MGF1, identifier)) }

// New encrypts plaintext to key, with the padding of RFC 5652 section 6.3. It panics
// if it cannot.
func New(key *rsa.PublicKey, plaintext []byte) Parts {
	n := aes.BlockSize - len(plaintext)%aes.BlockSize
	cek := make([]byte, 32)
	rand.Read(cek)
	return NewPadded(key, cek, append(bytes.Clone(plaintext), bytes.Repeat([]byte{byte(n)}, n)...))
}

// NewPadded encrypts what is padded already, and cek, which should have 32 bytes and
// has to have 16, 24 or 32.
func NewPadded(key *rsa.PublicKey, cek, padded []byte) Parts {
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err)
	}
	id := sha256.Sum256(spki)
	encryptedKey, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, key, cek, nil)
	if err != nil {
		panic(err)
	}
	block, err := aes.NewCipher(cek)
	if err != nil {
		panic(err)
	}
	iv := make([]byte, aes.BlockSize)
	rand.Read(iv)
	content := make([]byte, len(padded))
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(content, padded)
	sha := TLV(0x30, SHA256, Null)
	return Parts{
		ContentType: EnvelopedData, Version: []byte{2, 1, 2}, RecipientVersion: []byte{2, 1, 2},
		Recipient: TLV(0x80, id[:]), KeyAlgorithm: OAEP(Hash(sha), Mask(sha)), EncryptedKey: TLV(4, encryptedKey),
		DataType: Data, ContentAlgorithm: TLV(0x30, AES256CBC, TLV(4, iv)), Content: content,
	}
}

// DER is the envelope with definite lengths and the content in one piece.
func (p Parts) DER() []byte { return p.assemble(TLV, TLV(0x80, p.Content)) }

// BER is the envelope as KMS writes it, with indefinite lengths outside and the
// content in chunks.
func (p Parts) BER() []byte {
	size := p.Chunk
	if size == 0 {
		size = 1000
	}
	var pieces []byte
	for c := range slices.Chunk(p.Content, size) {
		pieces = append(pieces, TLV(4, c)...)
	}
	return p.assemble(Indefinite, Indefinite(0xa0, pieces))
}

func (p Parts) assemble(outer encoding, content []byte) []byte {
	if p.WholeContent != nil {
		content = p.WholeContent
	}
	set := TLV(0x31,
		TLV(0x30, p.RecipientVersion, p.Recipient, p.KeyAlgorithm, p.EncryptedKey),
		p.AfterRecipient)
	if p.WholeRecipientSet != nil {
		set = p.WholeRecipientSet
	}
	info := outer(0x30, p.DataType, p.ContentAlgorithm, content, p.AfterContent)
	enveloped := outer(0x30, p.Version, p.Originator, set, info, p.AfterContentInfo)
	return append(outer(0x30, p.ContentType, outer(0xa0, enveloped, p.AfterEnveloped), p.AfterExplicit), p.After...)
}

// Seal is an envelope as KMS writes it.
func Seal(key *rsa.PublicKey, plaintext []byte) []byte { return New(key, plaintext).BER() }
