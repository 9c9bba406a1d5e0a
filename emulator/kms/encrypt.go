package kms

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

// symmetric is the algorithm of a request that names none.
func symmetric(a types.EncryptionAlgorithmSpec) types.EncryptionAlgorithmSpec {
	if a == "" {
		return types.EncryptionAlgorithmSpecSymmetricDefault
	}
	return a
}

// withAlgorithm adds the condition key for an encryption algorithm, and the
// encryption context.
func withAlgorithm(a types.EncryptionAlgorithmSpec, context map[string]string) conditions {
	m := conditions{}.withContext(context)
	m.set("kms:EncryptionAlgorithm", string(symmetric(a)))
	return m
}

// maxContext is how much the names and values of an encryption context may have
// together, in bytes (AWS Encryption SDK developer guide, on its KMS keyring).
const maxContext = 8192

func (v *validation) context(member string, context map[string]string) {
	n := 0
	for name, value := range context {
		n += len(name) + len(value)
	}
	if n > maxContext {
		v.problems = append(v.problems, "Value at '"+member+"' failed to satisfy constraint: Member must have names and values of at most 8192 bytes together")
	}
}

func (c *call) encrypt(in *kms.EncryptInput) (*kms.EncryptOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	v.blob("plaintext", in.Plaintext, keys.MaxPlaintext)
	one(&v, "encryptionAlgorithm", in.EncryptionAlgorithm)
	v.context("encryptionContext", in.EncryptionContext)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := c.grantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	k, err := c.open(in.KeyId, "Encrypt", withAlgorithm(in.EncryptionAlgorithm, in.EncryptionContext))
	if err != nil {
		return nil, err
	}
	sealed, err := c.s.cfg.Ring.Encrypt(k.ID, keys.EncryptionAlgorithm(in.EncryptionAlgorithm), in.Plaintext, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return &kms.EncryptOutput{
		CiphertextBlob: sealed.Blob, EncryptionAlgorithm: symmetric(in.EncryptionAlgorithm), KeyId: aws.String(k.ARN),
	}, c.dry(in.DryRun)
}

func (c *call) decrypt(in *kms.DecryptInput) (*kms.DecryptOutput, error) {
	ciphertext := ciphertextIn{
		member: "ciphertextBlob", blob: in.CiphertextBlob, keyMember: "keyId", keyID: in.KeyId,
		algorithm: in.EncryptionAlgorithm, context: in.EncryptionContext,
		dryRun: value(in.DryRun), modifiers: in.DryRunModifiers,
	}
	var v validation
	ciphertext.validate(&v)
	one(&v, "encryptionAlgorithm", in.EncryptionAlgorithm)
	v.context("encryptionContext", in.EncryptionContext)
	v.recipient(in.Recipient)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := c.grantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	to, err := c.recipient(in.Recipient)
	if err != nil {
		return nil, err
	}
	k, err := c.openCiphertext(ciphertext, access{
		action: "Decrypt", recipient: to, more: withAlgorithm(in.EncryptionAlgorithm, in.EncryptionContext),
	})
	if err != nil {
		return nil, err
	}
	opened, err := c.decryptWith(k, ciphertext)
	if err != nil {
		return nil, err
	}
	if err := c.dry(in.DryRun); err != nil {
		return nil, err
	}
	out := &kms.DecryptOutput{EncryptionAlgorithm: symmetric(in.EncryptionAlgorithm), KeyId: aws.String(k.ARN)}
	if to == nil {
		out.KeyMaterialId = present(opened.MaterialID)
	}
	out.Plaintext, out.CiphertextForRecipient, err = c.release(to, opened.Plaintext)
	return out, err
}

// A ciphertextIn is a ciphertext of a request, with what goes with it.
type ciphertextIn struct {
	member, keyMember string // their names
	blob              []byte
	keyID             *string // may be nil if the blob is symmetric
	algorithm         types.EncryptionAlgorithmSpec
	context           map[string]string
	dryRun            bool
	modifiers         []types.DryRunModifierType
}

// ignored reports whether the request asks about permission only, not about a
// ciphertext (KMS developer guide, "Testing your permissions").
func (b *ciphertextIn) ignored() bool {
	return b.dryRun && slices.Contains(b.modifiers, types.DryRunModifierTypeIgnoreCiphertext)
}

func (b *ciphertextIn) validate(v *validation) {
	for _, m := range b.modifiers {
		one(v, "dryRunModifiers", m)
	}
	if !b.ignored() {
		v.blob(b.member, b.blob, keys.MaxCiphertext)
	}
	if b.keyID != nil || b.ignored() || symmetric(b.algorithm) != types.EncryptionAlgorithmSpecSymmetricDefault {
		v.keyID(b.keyMember, b.keyID)
	}
}

// openCiphertext is open for the key of a ciphertext. Whoever does not say which it
// is and may not use it is not told which it is.
func (c *call) openCiphertext(b ciphertextIn, a access) (*keys.Key, error) {
	if b.keyID != nil {
		k, err := c.key(*b.keyID)
		if err != nil {
			return nil, err
		}
		a.key, a.asked = k, *b.keyID
		return k, c.authorize(a)
	}
	hidden := refuse(codeAccessDenied, "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.")
	k, err := c.s.cfg.Ring.CiphertextKey(b.blob)
	if isMissing(err) {
		return nil, hidden
	}
	if err != nil {
		return nil, err
	}
	a.key = k
	if err := c.authorize(a); err != nil {
		if e, _ := asException(err); e.code == codeAccessDenied {
			return nil, hidden
		}
		return nil, err
	}
	return k, nil
}

// decryptWith gives the plaintext, an empty one if the ciphertext is ignored.
func (c *call) decryptWith(k *keys.Key, b ciphertextIn) (keys.Plaintext, error) {
	if b.ignored() {
		return keys.Plaintext{}, nil
	}
	opened, err := c.s.cfg.Ring.Decrypt(k.ID, keys.EncryptionAlgorithm(b.algorithm), b.blob, b.context)
	if err == nil && opened.Plaintext == nil {
		opened.Plaintext = keys.Secret{} // of no bytes, and there all the same
	}
	return opened, err
}
