package envelope

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
)

// Limits.
const (
	// MinKeyBits and MaxKeyBits bound the recipient's RSA modulus. AWS's enclave
	// SDK makes keys of 2048, 3072 and 4096 bits (aws_kms_key_pair types of
	// aws-nitro-enclaves-sdk-c).
	MinKeyBits = 2048
	MaxKeyBits = 4096

	// MaxPlaintext is the longest secret in bytes: that of Decrypt, whose
	// Plaintext is at most 4096 bytes (KMS API Reference, Decrypt). All other
	// operations return less, and the envelope stays below the 6144 bytes that
	// CiphertextForRecipient may have.
	MaxPlaintext = 4096

	// maxKey is the longest public_key of an attestation document, in bytes
	// (nsm-api docs/attestation_process.md).
	maxKey = 1024
)

// Reasons to make no envelope. Those about the key are the recipient's fault:
// its document carries it.
var (
	ErrKey       = errors.New("recipient's public key is not usable")
	ErrPlaintext = errors.New("plaintext is too long")
)

// A Form is how the encrypted content is written.
type Form int

const (
	// Constructed is what KMS sends: [0] constructed and indefinite, with OCTET
	// STRINGs of at most 1000 bytes, also for a content that needs only one.
	Constructed Form = iota

	// Primitive is what KMS has been seen to send once, in 2022: [0] primitive
	// and definite. A client has to read both.
	Primitive
)

// String is the name of the form.
func (f Form) String() string {
	switch f {
	case Constructed:
		return "constructed"
	case Primitive:
		return "primitive"
	}
	return fmt.Sprintf("Form(%d)", int(f))
}

// Seal encrypts plaintext, of at most [MaxPlaintext] bytes, to a recipient. spki
// is the field public_key of its attestation document as it stands there: a DER
// SubjectPublicKeyInfo with an RSA key of [MinKeyBits] to [MaxKeyBits] and an
// odd exponent of 3 to 2^31-1. All randomness comes from rand: key, IV, and seed
// of the OAEP padding. The error is ErrKey, ErrPlaintext, or that of rand.
func Seal(rand io.Reader, spki, plaintext []byte, form Form) ([]byte, error) {
	if len(plaintext) > MaxPlaintext {
		return nil, fmt.Errorf("seal: %d bytes, at most %d are possible: %w", len(plaintext), MaxPlaintext, ErrPlaintext)
	}
	if form != Constructed && form != Primitive {
		return nil, fmt.Errorf("seal: unknown form %v", form)
	}
	key, err := parseKey(spki)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}

	var random [32 + aes.BlockSize]byte
	defer clear(random[:])
	if _, err := io.ReadFull(rand, random[:]); err != nil {
		return nil, fmt.Errorf("seal: content-encryption key: %w", err)
	}
	cek, iv := random[:32], random[32:]
	encryptedKey, err := rsa.EncryptOAEP(sha256.New(), rand, key, cek, nil)
	if err != nil {
		return nil, fmt.Errorf("seal: encrypt content-encryption key: %w", err)
	}
	block, err := aes.NewCipher(cek)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	content := pad(plaintext)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(content, content)
	return assemble(sha256.Sum256(spki), encryptedKey, [aes.BlockSize]byte(iv), content, form), nil
}

// parseKey reads a recipient's key and refuses what RSA must not be used with.
func parseKey(spki []byte) (*rsa.PublicKey, error) {
	if len(spki) > maxKey {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are possible", ErrKey, len(spki), maxKey)
	}
	parsed, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, fmt.Errorf("%w: no SubjectPublicKeyInfo: %w", ErrKey, err)
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: %T, only RSA is", ErrKey, parsed)
	}
	if n := key.N.BitLen(); n < MinKeyBits || n > MaxKeyBits {
		return nil, fmt.Errorf("%w: RSA of %d bits, 2048 to 4096 are", ErrKey, n)
	}
	if key.E < 3 || key.E > 1<<31-1 || key.E%2 == 0 || key.N.Bit(0) == 0 {
		return nil, fmt.Errorf("%w: even modulus, or exponent %d", ErrKey, key.E)
	}
	// The identifier of the recipient is a hash of these bytes, so they must be
	// the one encoding of the key.
	if der, err := x509.MarshalPKIXPublicKey(key); err != nil || !bytes.Equal(der, spki) {
		return nil, fmt.Errorf("%w: SubjectPublicKeyInfo is not in DER", ErrKey)
	}
	return key, nil
}

// pad returns a copy of b with the padding of RFC 5652 section 6.3.
func pad(b []byte) []byte {
	n := aes.BlockSize - len(b)%aes.BlockSize
	padded := make([]byte, len(b)+n)
	copy(padded, b)
	for i := len(b); i < len(padded); i++ {
		padded[i] = byte(n)
	}
	return padded
}
