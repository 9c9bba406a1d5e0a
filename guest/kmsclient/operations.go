package kmsclient

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// A Decrypt is a request to decrypt what a key encrypted (KMS API Reference,
// Decrypt).
type Decrypt struct {
	// KeyID is the key that must have encrypted: an ARN, a key id, or an alias.
	// With an ARN or a key id an answer under another key is refused. Empty takes
	// the key that the ciphertext names, which lets who stores it swap keys.
	KeyID string

	// Ciphertext is a CiphertextBlob, 1 to 6144 bytes.
	Ciphertext []byte

	// Context is the encryption context that it was made with. It is what binds a
	// ciphertext to its purpose.
	Context map[string]string

	// Algorithm is that of an asymmetric key; empty means SYMMETRIC_DEFAULT.
	Algorithm types.EncryptionAlgorithmSpec
}

// Decrypt returns the plaintext, at most 4096 bytes. The error is an *[Error].
func (c *Client) Decrypt(ctx context.Context, d Decrypt) ([]byte, error) {
	return c.ask(ctx, "Decrypt", d.KeyID, func(ctx context.Context, r *types.RecipientInfo) (answer, error) {
		out, err := c.sdk.Decrypt(ctx, &kms.DecryptInput{
			KeyId: optional(d.KeyID), CiphertextBlob: d.Ciphertext, EncryptionContext: d.Context,
			EncryptionAlgorithm: d.Algorithm, Recipient: r,
		})
		if err != nil {
			return answer{}, err
		}
		return answer{aws.ToString(out.KeyId), out.Plaintext, out.CiphertextForRecipient, anyLength}, nil
	})
}

// A GenerateDataKey is a request for a new symmetric key (KMS API Reference,
// GenerateDataKey). Exactly one of Spec and Bytes is set.
type GenerateDataKey struct {
	KeyID   string            // the key to encrypt it under
	Spec    types.DataKeySpec // AES_256 or AES_128
	Bytes   int32             // 1 to 1024
	Context map[string]string // encryption context, to be given to Decrypt
}

// A DataKey is a new key in the clear and encrypted.
type DataKey struct {
	Plaintext  []byte // secret
	Ciphertext []byte // CiphertextBlob, for Decrypt
	KeyID      string // ARN of the key it is encrypted under
}

// GenerateDataKey returns a new key of the length asked for. The error is an
// *[Error].
func (c *Client) GenerateDataKey(ctx context.Context, g GenerateDataKey) (DataKey, error) {
	var key DataKey
	secret, err := c.ask(ctx, "GenerateDataKey", g.KeyID, func(ctx context.Context, r *types.RecipientInfo) (answer, error) {
		in := &kms.GenerateDataKeyInput{
			KeyId: aws.String(g.KeyID), KeySpec: g.Spec, EncryptionContext: g.Context, Recipient: r,
		}
		if g.Bytes != 0 {
			in.NumberOfBytes = aws.Int32(g.Bytes)
		}
		out, err := c.sdk.GenerateDataKey(ctx, in)
		if err != nil {
			return answer{}, err
		}
		key.Ciphertext, key.KeyID = out.CiphertextBlob, aws.ToString(out.KeyId)
		return answer{key.KeyID, out.Plaintext, out.CiphertextForRecipient, g.length()}, nil
	})
	if err != nil {
		return DataKey{}, err
	}
	key.Plaintext = secret
	return key, nil
}

func (g *GenerateDataKey) length() int {
	switch g.Spec {
	case types.DataKeySpecAes256:
		return 32
	case types.DataKeySpecAes128:
		return 16
	}
	return int(max(g.Bytes, 0)) // below 0 is not "any"
}

// A GenerateDataKeyPair is a request for a new key pair (KMS API Reference,
// GenerateDataKeyPair).
type GenerateDataKeyPair struct {
	KeyID   string                // the key to encrypt the private half under
	Spec    types.DataKeyPairSpec // such as ECC_NIST_P256 or RSA_2048
	Context map[string]string     // encryption context, to be given to Decrypt
}

// A KeyPair is a new key pair, the private half in the clear and encrypted.
type KeyPair struct {
	PrivateKey []byte // secret; DER PrivateKeyInfo (PKCS #8, RFC 5958)
	PublicKey  []byte // DER SubjectPublicKeyInfo
	Ciphertext []byte // PrivateKeyCiphertextBlob, for Decrypt
	KeyID      string // ARN of the key the private half is encrypted under
}

// GenerateDataKeyPair returns a new key pair. The error is an *[Error].
func (c *Client) GenerateDataKeyPair(ctx context.Context, g GenerateDataKeyPair) (KeyPair, error) {
	var pair KeyPair
	secret, err := c.ask(ctx, "GenerateDataKeyPair", g.KeyID, func(ctx context.Context, r *types.RecipientInfo) (answer, error) {
		out, err := c.sdk.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{
			KeyId: aws.String(g.KeyID), KeyPairSpec: g.Spec, EncryptionContext: g.Context, Recipient: r,
		})
		if err != nil {
			return answer{}, err
		}
		pair = KeyPair{PublicKey: out.PublicKey, Ciphertext: out.PrivateKeyCiphertextBlob, KeyID: aws.ToString(out.KeyId)}
		return answer{pair.KeyID, out.PrivateKeyPlaintext, out.CiphertextForRecipient, anyLength}, nil
	})
	if err != nil {
		return KeyPair{}, err
	}
	pair.PrivateKey = secret
	return pair, nil
}

// GenerateRandom returns n random bytes, 1 to 1024 (KMS API Reference,
// GenerateRandom). The error is an *[Error].
func (c *Client) GenerateRandom(ctx context.Context, n int32) ([]byte, error) {
	return c.ask(ctx, "GenerateRandom", "", func(ctx context.Context, r *types.RecipientInfo) (answer, error) {
		out, err := c.sdk.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(n), Recipient: r})
		if err != nil {
			return answer{}, err
		}
		return answer{"", out.Plaintext, out.CiphertextForRecipient, int(max(n, 0))}, nil
	})
}

// A DeriveSharedSecret is a request for the result of ECDH between a key of the
// service and another's public key (KMS API Reference, DeriveSharedSecret).
type DeriveSharedSecret struct {
	KeyID     string // a key with usage KEY_AGREEMENT
	PublicKey []byte // DER SubjectPublicKeyInfo on the same curve
}

// DeriveSharedSecret returns the x coordinate of the shared point, as long as a
// field element of the curve: not a key before a key derivation function. The error
// is an *[Error].
func (c *Client) DeriveSharedSecret(ctx context.Context, d DeriveSharedSecret) ([]byte, error) {
	return c.ask(ctx, "DeriveSharedSecret", d.KeyID, func(ctx context.Context, r *types.RecipientInfo) (answer, error) {
		out, err := c.sdk.DeriveSharedSecret(ctx, &kms.DeriveSharedSecretInput{
			KeyId: aws.String(d.KeyID), KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh,
			PublicKey: d.PublicKey, Recipient: r,
		})
		if err != nil {
			return answer{}, err
		}
		return answer{aws.ToString(out.KeyId), out.SharedSecret, out.CiphertextForRecipient, anyLength}, nil
	})
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
