package keys

import (
	"crypto"
	_ "crypto/sha1" // RSAES_OAEP_SHA_1
	_ "crypto/sha256"
	_ "crypto/sha512"
	"slices"
)

// An EncryptionAlgorithm is an EncryptionAlgorithmSpec of the KMS API.
type EncryptionAlgorithm string

// Encryption algorithms. OAEP uses one hash for label and MGF1, and an empty label.
const (
	SymmetricDefault EncryptionAlgorithm = "SYMMETRIC_DEFAULT"
	OAEPSHA1         EncryptionAlgorithm = "RSAES_OAEP_SHA_1"
	OAEPSHA256       EncryptionAlgorithm = "RSAES_OAEP_SHA_256"
)

// A SigningAlgorithm is a SigningAlgorithmSpec of the KMS API.
type SigningAlgorithm string

// Signing algorithms. PSS uses MGF1 with the same hash and a salt of its length;
// an ECDSA signature is the DER of RFC 3279 section 2.2.3.
const (
	PSSSHA256   SigningAlgorithm = "RSASSA_PSS_SHA_256"
	PSSSHA384   SigningAlgorithm = "RSASSA_PSS_SHA_384"
	PSSSHA512   SigningAlgorithm = "RSASSA_PSS_SHA_512"
	PKCS1SHA256 SigningAlgorithm = "RSASSA_PKCS1_V1_5_SHA_256"
	PKCS1SHA384 SigningAlgorithm = "RSASSA_PKCS1_V1_5_SHA_384"
	PKCS1SHA512 SigningAlgorithm = "RSASSA_PKCS1_V1_5_SHA_512"
	ECDSASHA256 SigningAlgorithm = "ECDSA_SHA_256"
	ECDSASHA384 SigningAlgorithm = "ECDSA_SHA_384"
	ECDSASHA512 SigningAlgorithm = "ECDSA_SHA_512"
)

// A MACAlgorithm is a MacAlgorithmSpec of the KMS API.
type MACAlgorithm string

// MAC algorithms (RFC 2104 with FIPS 180-4).
const (
	HMACSHA224 MACAlgorithm = "HMAC_SHA_224"
	HMACSHA256 MACAlgorithm = "HMAC_SHA_256"
	HMACSHA384 MACAlgorithm = "HMAC_SHA_384"
	HMACSHA512 MACAlgorithm = "HMAC_SHA_512"
)

// An AgreementAlgorithm is a KeyAgreementAlgorithmSpec of the KMS API.
type AgreementAlgorithm string

// ECDH is the cofactor Diffie-Hellman primitive of SP 800-56A, the only one there is.
const ECDH AgreementAlgorithm = "ECDH"

// A MessageType says what Sign and Verify get.
type MessageType string

// Message types; empty means Raw.
const (
	Raw    MessageType = "RAW"    // the message, up to 4096 bytes; the ring hashes it
	Digest MessageType = "DIGEST" // its hash, as long as the algorithm's
)

var rsaSigning = []SigningAlgorithm{
	PKCS1SHA256, PKCS1SHA384, PKCS1SHA512, PSSSHA256, PSSSHA384, PSSSHA512,
}

// EncryptionAlgorithms are those Encrypt and Decrypt take for the key, as in
// DescribeKey; none if the usage is another.
func (k *Key) EncryptionAlgorithms() []EncryptionAlgorithm {
	switch {
	case k.Usage != EncryptDecrypt:
		return nil
	case k.Spec == Symmetric:
		return []EncryptionAlgorithm{SymmetricDefault}
	}
	return []EncryptionAlgorithm{OAEPSHA1, OAEPSHA256}
}

// SigningAlgorithms are those Sign and Verify take for the key, as in DescribeKey;
// none if the usage is another.
func (k *Key) SigningAlgorithms() []SigningAlgorithm {
	if k.Usage != SignVerify {
		return nil
	}
	switch k.Spec {
	case ECCP256:
		return []SigningAlgorithm{ECDSASHA256}
	case ECCP384:
		return []SigningAlgorithm{ECDSASHA384}
	case ECCP521:
		return []SigningAlgorithm{ECDSASHA512}
	}
	return slices.Clone(rsaSigning)
}

// MACAlgorithms are those GenerateMAC and VerifyMAC take for the key, as in
// DescribeKey; none if the usage is another.
func (k *Key) MACAlgorithms() []MACAlgorithm {
	switch k.Spec {
	case HMAC224:
		return []MACAlgorithm{HMACSHA224}
	case HMAC256:
		return []MACAlgorithm{HMACSHA256}
	case HMAC384:
		return []MACAlgorithm{HMACSHA384}
	case HMAC512:
		return []MACAlgorithm{HMACSHA512}
	}
	return nil
}

// AgreementAlgorithms are those DeriveSharedSecret takes for the key, as in
// DescribeKey; none if the usage is another.
func (k *Key) AgreementAlgorithms() []AgreementAlgorithm {
	if k.Usage != KeyAgreement {
		return nil
	}
	return []AgreementAlgorithm{ECDH}
}

func (a SigningAlgorithm) hash() crypto.Hash {
	switch a {
	case PSSSHA256, PKCS1SHA256, ECDSASHA256:
		return crypto.SHA256
	case PSSSHA384, PKCS1SHA384, ECDSASHA384:
		return crypto.SHA384
	case PSSSHA512, PKCS1SHA512, ECDSASHA512:
		return crypto.SHA512
	}
	return 0
}

func (a SigningAlgorithm) pss() bool {
	return a == PSSSHA256 || a == PSSSHA384 || a == PSSSHA512
}

func (a EncryptionAlgorithm) hash() crypto.Hash {
	switch a {
	case OAEPSHA1:
		return crypto.SHA1
	case OAEPSHA256:
		return crypto.SHA256
	}
	return 0
}

func (a MACAlgorithm) hash() crypto.Hash {
	switch a {
	case HMACSHA224:
		return crypto.SHA224
	case HMACSHA256:
		return crypto.SHA256
	case HMACSHA384:
		return crypto.SHA384
	case HMACSHA512:
		return crypto.SHA512
	}
	return 0
}
