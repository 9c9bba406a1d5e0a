package keys

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// A symmetric ciphertext, all parts of fixed length but the last:
//
//	 5  prefix, 01 02 02 00 78
//	16  key id, the bytes of the UUID
//	32  id of the key's material
//	32  salt
//	 n  AES-256-GCM over the plaintext with a tag of 16 bytes
//
// Key and nonce of the GCM come from the material by HKDF-SHA-256 (RFC 5869) with the
// salt, so that no two messages share them and a key has no number of messages after
// which it should not be used, as with random nonces of 12 bytes. What GCM
// authenticates besides is everything before it and the encryption context.
const (
	blobKeyAt      = len(blobPrefix)
	blobMaterialAt = blobKeyAt + 16
	blobSaltAt     = blobMaterialAt + materialIDSize
	blobSealedAt   = blobSaltAt + 32
	tagSize        = 16
	nonceSize      = 12
)

// blobPrefix is how ciphertexts of AWS begin: AQICAH in base64.
const blobPrefix = "\x01\x02\x02\x00\x78"

const messageLabel = "nitrolab kms SYMMETRIC_DEFAULT"

// blobKey gives the ids of key and material that a symmetric ciphertext names. What
// it says is not authentic until the ciphertext is opened.
func blobKey(blob []byte) (key string, materialID [materialIDSize]byte, err error) {
	if len(blob) > MaxCiphertext {
		return "", materialID, fail(ErrValidation, "CiphertextBlob has %d bytes; allowed are 1 to %d", len(blob), MaxCiphertext)
	}
	if len(blob) <= blobSealedAt+tagSize || !bytes.HasPrefix(blob, []byte(blobPrefix)) {
		return "", materialID, invalidCiphertext()
	}
	copy(materialID[:], blob[blobMaterialAt:])
	return formatUUID([16]byte(blob[blobKeyAt:blobMaterialAt])), materialID, nil
}

// seal encrypts plaintext under the current material of the key.
func (r *Ring) seal(e *entry, plaintext []byte, context map[string]string) ([]byte, error) {
	m := e.current()
	id, err := parseUUID(e.key.ID)
	if err != nil {
		return nil, internal("encrypt", err)
	}
	blob := make([]byte, blobSealedAt, blobSealedAt+len(plaintext)+tagSize)
	copy(blob, blobPrefix)
	copy(blob[blobKeyAt:], id[:])
	copy(blob[blobMaterialAt:], m.id[:])
	if err := r.read(blob[blobSaltAt:]); err != nil {
		return nil, err
	}
	aead, nonce, err := m.message(blob[blobSaltAt:])
	if err != nil {
		return nil, internal("encrypt", err)
	}
	return aead.Seal(blob, nonce, plaintext, additional(blob, context)), nil
}

// open decrypts a blob of this key; every failure looks the same.
func (e *entry) open(materialID [materialIDSize]byte, blob []byte, context map[string]string) ([]byte, *material, error) {
	i := slices.IndexFunc(e.materials, func(m *material) bool { return m.id == materialID })
	if i < 0 {
		return nil, nil, invalidCiphertext()
	}
	m, head := e.materials[i], blob[:blobSealedAt]
	aead, nonce, err := m.message(head[blobSaltAt:])
	if err != nil {
		return nil, nil, internal("decrypt", err)
	}
	plaintext, err := aead.Open(nil, nonce, blob[blobSealedAt:], additional(head, context))
	if err != nil {
		return nil, nil, invalidCiphertext()
	}
	return plaintext, m, nil
}

// message gives the cipher of the one message with that salt.
func (m *material) message(salt []byte) (cipher.AEAD, []byte, error) {
	okm, err := hkdf.Key(sha256.New, m.private().secret, salt, messageLabel, 32+nonceSize)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(okm[:32])
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCM(block)
	return aead, okm[32:], err
}

// additional is the head and the encryption context in its one canonical form: names
// in the order of their bytes, every string after its length, so that no two contexts
// have the same form. An empty context is the same as none.
func additional(head []byte, context map[string]string) []byte {
	size := len(head) + 4
	for name, value := range context {
		size += 8 + len(name) + len(value)
	}
	out := append(make([]byte, 0, size), head...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(context)))
	for _, name := range slices.Sorted(maps.Keys(context)) {
		for _, s := range []string{name, context[name]} {
			out = binary.BigEndian.AppendUint32(out, uint32(len(s)))
			out = append(out, s...)
		}
	}
	return out
}

// parseUUID is the inverse of formatUUID.
func parseUUID(s string) (id [16]byte, err error) {
	if len(s) == 36 {
		_, err = hex.Decode(id[:], []byte(s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:]))
	}
	if err != nil || formatUUID(id) != s {
		return id, fmt.Errorf("key id is %q; allowed is a UUID in lower case", clip(s))
	}
	return id, nil
}
