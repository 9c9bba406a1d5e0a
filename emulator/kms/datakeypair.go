package kms

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

// withPair adds the condition key for the kind of a data key pair.
func withPair(spec types.DataKeyPairSpec, context map[string]string) conditions {
	m := withAlgorithm("", context)
	m.set("kms:DataKeyPairSpec", string(spec))
	return m
}

func (c *call) generateDataKeyPair(in *kms.GenerateDataKeyPairInput) (*kms.GenerateDataKeyPairOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	needed(&v, "keyPairSpec", in.KeyPairSpec)
	v.context("encryptionContext", in.EncryptionContext)
	v.recipient(in.Recipient)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := c.grantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	to, k, err := c.openAttested(in.KeyId, in.Recipient, "GenerateDataKeyPair", withPair(in.KeyPairSpec, in.EncryptionContext))
	if err != nil {
		return nil, err
	}
	pair, err := c.s.cfg.Ring.GenerateDataKeyPair(k.ID, keys.Spec(in.KeyPairSpec), in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	if err := c.dry(in.DryRun); err != nil {
		return nil, err
	}
	out := &kms.GenerateDataKeyPairOutput{
		KeyId: aws.String(k.ARN), KeyPairSpec: in.KeyPairSpec,
		PublicKey: pair.PublicKey, PrivateKeyCiphertextBlob: pair.Blob,
	}
	if to == nil {
		out.KeyMaterialId = present(pair.MaterialID)
	}
	out.PrivateKeyPlaintext, out.CiphertextForRecipient, err = c.release(to, pair.PrivateKey)
	return out, err
}

func (c *call) generateDataKeyPairWithoutPlaintext(in *kms.GenerateDataKeyPairWithoutPlaintextInput) (*kms.GenerateDataKeyPairWithoutPlaintextOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	needed(&v, "keyPairSpec", in.KeyPairSpec)
	v.context("encryptionContext", in.EncryptionContext)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := c.grantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	k, err := c.open(in.KeyId, "GenerateDataKeyPairWithoutPlaintext", withPair(in.KeyPairSpec, in.EncryptionContext))
	if err != nil {
		return nil, err
	}
	pair, err := c.s.cfg.Ring.GenerateDataKeyPair(k.ID, keys.Spec(in.KeyPairSpec), in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	pair.PrivateKey.Wipe()
	return &kms.GenerateDataKeyPairWithoutPlaintextOutput{
		KeyId: aws.String(k.ARN), KeyMaterialId: present(pair.MaterialID), KeyPairSpec: in.KeyPairSpec,
		PublicKey: pair.PublicKey, PrivateKeyCiphertextBlob: pair.Blob,
	}, c.dry(in.DryRun)
}
