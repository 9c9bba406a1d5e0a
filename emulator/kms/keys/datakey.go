package keys

import (
	"crypto/x509"
)

// A DataKey is random bytes, in the clear and encrypted.
type DataKey struct {
	Plaintext Secret
	Ciphertext
}

// A DataKeyPair is a key pair whose private half is there twice, in the clear and
// encrypted.
type DataKeyPair struct {
	PublicKey  []byte // SubjectPublicKeyInfo, DER
	PrivateKey Secret // PKCS #8, DER
	Ciphertext        // of PrivateKey
}

// GenerateDataKey makes n random bytes, 1..1024, and encrypts them under the
// symmetric key with that id. Errors are those of Encrypt.
func (r *Ring) GenerateDataKey(id string, n int, context map[string]string) (DataKey, error) {
	e, err := r.wrappingKey(id)
	if err != nil {
		return DataKey{}, err
	}
	plaintext, err := r.GenerateRandom(n)
	if err != nil {
		return DataKey{}, err
	}
	c, err := r.encrypt(e, plaintext, context)
	if err != nil {
		return DataKey{}, err
	}
	return DataKey{Plaintext: plaintext, Ciphertext: c}, nil
}

// GenerateDataKeyPair makes a key pair, RSA or ECC, and encrypts its private half
// under the symmetric key with that id. Errors are those of Encrypt, and
// [ErrUnsupported] for key pairs of AWS that this ring does not make.
func (r *Ring) GenerateDataKeyPair(id string, spec Spec, context map[string]string) (DataKeyPair, error) {
	e, err := r.wrappingKey(id)
	if err != nil {
		return DataKeyPair{}, err
	}
	if !spec.asymmetric() {
		return DataKeyPair{}, fail(ErrUnsupported, "KeyPairSpec is %q; this emulator makes RSA_2048, RSA_3072, RSA_4096, ECC_NIST_P256, ECC_NIST_P384 and ECC_NIST_P521", clip(string(spec)))
	}
	pair, err := r.newPrivateKey(spec)
	if err != nil {
		return DataKeyPair{}, err
	}
	var m material
	if err := m.hold(pair); err != nil {
		return DataKeyPair{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair)
	if err != nil {
		return DataKeyPair{}, internal("encode private key", err)
	}
	c, err := r.encrypt(e, der, context)
	if err != nil {
		return DataKeyPair{}, err
	}
	return DataKeyPair{PublicKey: m.public, PrivateKey: der, Ciphertext: c}, nil
}

// GenerateRandom makes n random bytes, 1..1024.
func (r *Ring) GenerateRandom(n int) (Secret, error) {
	if n < 1 || n > MaxRandom {
		return nil, fail(ErrValidation, "NumberOfBytes is %d; allowed are 1 to %d", n, MaxRandom)
	}
	b := make([]byte, n)
	if err := r.read(b); err != nil {
		return nil, err
	}
	return b, nil
}

// wrappingKey finds a symmetric encryption key.
func (r *Ring) wrappingKey(id string) (*entry, error) {
	e, err := r.usableFor(id, EncryptDecrypt)
	if err != nil {
		return nil, err
	}
	if e.key.Spec != Symmetric {
		return nil, fail(ErrInvalidUsage, "%s has KeySpec %s which is not valid for this operation, which needs SYMMETRIC_DEFAULT.", e.key.ARN, e.key.Spec)
	}
	return e, nil
}
