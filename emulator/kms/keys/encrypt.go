package keys

import (
	"crypto/rand"
	"crypto/rsa"
	"slices"
)

// A Ciphertext is what encryption gives.
type Ciphertext struct {
	Blob       []byte
	MaterialID string // of a Symmetric key; else empty
}

// A Plaintext is what decryption gives.
type Plaintext struct {
	Plaintext  Secret
	MaterialID string // of a Symmetric key: that of the ciphertext, not the current one
}

// Encrypt encrypts 1..4096 bytes, fewer with RSA, under the key with that id; an
// empty algorithm means SymmetricDefault. The encryption context belongs to the
// ciphertext: whoever decrypts must give the same; RSA keys take none.
//
// Errors are [ErrNotFound], [ErrDisabled], [ErrInvalidState], [ErrInvalidUsage] for a
// key or algorithm of another kind, and [ErrValidation].
func (r *Ring) Encrypt(id string, a EncryptionAlgorithm, plaintext []byte, context map[string]string) (Ciphertext, error) {
	e, a, err := r.encryptionKey(id, a, context)
	if err != nil {
		return Ciphertext{}, err
	}
	most := MaxPlaintext
	if h := a.hash(); h != 0 {
		most = e.current().private().rsa.Size() - 2*h.Size() - 2 // RFC 8017 section 7.1.1
	}
	if len(plaintext) == 0 || len(plaintext) > most {
		return Ciphertext{}, fail(ErrValidation, "Plaintext has %d bytes; allowed are 1 to %d with KeySpec %s and %s", len(plaintext), most, e.key.Spec, a)
	}
	if a == SymmetricDefault {
		return r.encrypt(e, plaintext, context)
	}
	blob, err := rsa.EncryptOAEP(a.hash().New(), rand.Reader, &e.current().private().rsa.PublicKey, plaintext, nil)
	if err != nil {
		return Ciphertext{}, internal("encrypt", err)
	}
	return Ciphertext{Blob: blob}, nil
}

// encrypt seals under a symmetric key.
func (r *Ring) encrypt(e *entry, plaintext []byte, context map[string]string) (Ciphertext, error) {
	blob, err := r.seal(e, plaintext, context)
	if err != nil {
		return Ciphertext{}, err
	}
	return Ciphertext{Blob: blob, MaterialID: e.current().name()}, nil
}

// CiphertextKey finds the key that a symmetric ciphertext says it was made with, for
// Decrypt without a KeyId. That is a claim until Decrypt proves it.
//
// Errors are [ErrInvalidCiphertext], [ErrNotFound] if this ring has no such key, as
// after its deletion, and [ErrValidation] for more than 6144 bytes.
func (r *Ring) CiphertextKey(blob []byte) (*Key, error) {
	id, _, err := blobKey(blob)
	if err != nil {
		return nil, err
	}
	e, err := r.entry(id)
	if err != nil {
		return nil, err
	}
	return e.key, nil
}

// Decrypt opens a ciphertext of the key with that id; see [Ring.CiphertextKey] for
// who does not know which that is. An empty algorithm means SymmetricDefault.
//
// Errors are [ErrInvalidCiphertext] for a ciphertext that is damaged, forged or of
// another encryption context, without saying which, [ErrIncorrectKey] for a symmetric
// ciphertext of another key, and those of Encrypt.
func (r *Ring) Decrypt(id string, a EncryptionAlgorithm, blob []byte, context map[string]string) (Plaintext, error) {
	e, a, err := r.encryptionKey(id, a, context)
	if err != nil {
		return Plaintext{}, err
	}
	if len(blob) == 0 || len(blob) > MaxCiphertext {
		return Plaintext{}, fail(ErrValidation, "CiphertextBlob has %d bytes; allowed are 1 to %d", len(blob), MaxCiphertext)
	}
	if a == SymmetricDefault {
		of, materialID, err := blobKey(blob)
		if err != nil {
			return Plaintext{}, err
		}
		if of != id {
			return Plaintext{}, fail(ErrIncorrectKey, "The key ID in the request does not identify a CMK that can perform this operation.")
		}
		plaintext, m, err := e.open(materialID, blob, context)
		if err != nil {
			return Plaintext{}, err
		}
		return Plaintext{Plaintext: plaintext, MaterialID: m.name()}, nil
	}
	plaintext, err := rsa.DecryptOAEP(a.hash().New(), nil, e.current().private().rsa, blob, nil)
	if err != nil {
		return Plaintext{}, invalidCiphertext()
	}
	return Plaintext{Plaintext: plaintext}, nil
}

// encryptionKey finds the key for an algorithm.
func (r *Ring) encryptionKey(id string, a EncryptionAlgorithm, context map[string]string) (*entry, EncryptionAlgorithm, error) {
	e, err := r.usableFor(id, EncryptDecrypt)
	if err != nil {
		return nil, a, err
	}
	if a == "" {
		a = SymmetricDefault
	}
	if !slices.Contains(e.key.EncryptionAlgorithms(), a) {
		return nil, a, e.key.incompatible(string(a))
	}
	if a != SymmetricDefault && len(context) > 0 {
		return nil, a, fail(ErrValidation, "EncryptionContext is given; %s takes none", a)
	}
	return e, a, nil
}

// usableFor finds a key that may be used for that purpose now.
func (r *Ring) usableFor(id string, u Usage) (*entry, error) {
	e, err := r.entry(id)
	if err != nil {
		return nil, err
	}
	return e, e.key.usableFor(u)
}

func (k *Key) incompatible(algorithm string) error {
	return fail(ErrInvalidUsage, "Algorithm %s is incompatible with key spec %s.", clip(algorithm), k.Spec)
}
