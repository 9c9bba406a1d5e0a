package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
)

// MaxSize is the longest envelope in bytes: the limit of CiphertextForRecipient
// (CiphertextType of the KMS API, 1 to 6144 bytes).
const MaxSize = 6144

// Reasons to refuse an envelope.
var (
	// ErrFormat says that the bytes are not such an EnvelopedData, or use another
	// algorithm.
	ErrFormat = errors.New("malformed envelope")

	// ErrRecipient says that the envelope is for another key.
	ErrRecipient = errors.New("envelope is for another key")

	// ErrDecrypt says that it is for our key but does not decrypt. It covers the
	// OAEP padding, the length of the content-encryption key and the padding of
	// the content: which of them it was is what a padding oracle tells (RFC 8017
	// section 7.1.2, RFC 5652 section 14), so neither text nor time say.
	ErrDecrypt = errors.New("envelope does not decrypt")
)

// Open returns the secret in ciphertextForRecipient, which is not modified. key is
// the private half of the public_key in the attestation document that the request
// carried. The error is ErrFormat, ErrRecipient or ErrDecrypt; none holds a byte of
// the content.
func Open(key *rsa.PrivateKey, ciphertextForRecipient []byte) ([]byte, error) {
	m, err := parse(ciphertextForRecipient)
	if err != nil {
		return nil, fmt.Errorf("open envelope: %w", err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("open envelope: %w", err)
	}
	id := sha256.Sum256(spki)
	if subtle.ConstantTimeCompare(m.keyID, id[:]) != 1 {
		return nil, fmt.Errorf("open envelope: %w", ErrRecipient)
	}
	if len(m.encryptedKey) != key.Size() {
		return nil, fmt.Errorf("open envelope: %w: encrypted key of %d bytes, the modulus has %d",
			ErrFormat, len(m.encryptedKey), key.Size())
	}
	plaintext, ok := decrypt(key, m)
	if !ok {
		return nil, fmt.Errorf("open envelope: %w", ErrDecrypt)
	}
	return plaintext, nil
}

// decrypt goes all the way whatever fails, with a random key if there is none.
//
// Preconditions: the content of m is one or more AES blocks.
func decrypt(key *rsa.PrivateKey, m *message) (plaintext []byte, ok bool) {
	var cek [32]byte
	defer clear(cek[:])
	rand.Read(cek[:])
	got, err := rsa.DecryptOAEP(sha256.New(), nil, key, m.encryptedKey, nil)
	defer clear(got)
	good := 0
	if err == nil && len(got) == len(cek) {
		good = 1
		copy(cek[:], got)
	}
	block, err := aes.NewCipher(cek[:])
	if err != nil {
		return nil, false // not with 32 bytes
	}
	content := make([]byte, len(m.content))
	cipher.NewCBCDecrypter(block, m.iv).CryptBlocks(content, m.content)
	n, padded := unpad(content)
	if good&padded != 1 {
		clear(content)
		return nil, false
	}
	return content[:n:n], true
}

// unpad returns the length of b without the padding of RFC 5652 section 6.3, and 1
// if there is one. Its time depends on the length of b only.
//
// Preconditions: b is one or more AES blocks.
func unpad(b []byte) (n, ok int) {
	last := int(b[len(b)-1])
	ok = subtle.ConstantTimeLessOrEq(1, last) & subtle.ConstantTimeLessOrEq(last, aes.BlockSize)
	for i := range aes.BlockSize {
		in := subtle.ConstantTimeLessOrEq(i+1, last)
		same := subtle.ConstantTimeByteEq(b[len(b)-1-i], byte(last))
		ok &= subtle.ConstantTimeSelect(in, same, 1)
	}
	return len(b) - last*ok, ok
}
