package kms

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

func (c *call) deriveSharedSecret(in *kms.DeriveSharedSecretInput) (*kms.DeriveSharedSecretOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	needed(&v, "keyAgreementAlgorithm", in.KeyAgreementAlgorithm)
	v.blob("publicKey", in.PublicKey, keys.MaxPublicKey)
	v.recipient(in.Recipient)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := c.grantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	more := conditions{}
	more.set("kms:KeyAgreementAlgorithm", string(in.KeyAgreementAlgorithm))
	to, k, err := c.openAttested(in.KeyId, in.Recipient, "DeriveSharedSecret", more)
	if err != nil {
		return nil, err
	}
	secret, err := c.s.cfg.Ring.DeriveSharedSecret(k.ID, keys.AgreementAlgorithm(in.KeyAgreementAlgorithm), in.PublicKey)
	if err != nil {
		return nil, err
	}
	if err := c.dry(in.DryRun); err != nil {
		return nil, err
	}
	out := &kms.DeriveSharedSecretOutput{
		KeyId: aws.String(k.ARN), KeyAgreementAlgorithm: in.KeyAgreementAlgorithm, KeyOrigin: types.OriginTypeAwsKms,
	}
	out.SharedSecret, out.CiphertextForRecipient, err = c.release(to, secret)
	return out, err
}

func (c *call) getPublicKey(in *kms.GetPublicKeyInput) (*kms.GetPublicKeyOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := c.grantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	k, err := c.open(in.KeyId, "GetPublicKey", nil)
	if err != nil {
		return nil, err
	}
	spki, err := c.s.cfg.Ring.PublicKey(k.ID)
	if err != nil {
		return nil, err
	}
	return &kms.GetPublicKeyOutput{
		//lint:ignore SA1019 the service sends it still, and older clients read it
		CustomerMasterKeySpec:  types.CustomerMasterKeySpec(k.Spec),
		EncryptionAlgorithms:   names[types.EncryptionAlgorithmSpec](k.EncryptionAlgorithms()),
		KeyAgreementAlgorithms: names[types.KeyAgreementAlgorithmSpec](k.AgreementAlgorithms()),
		KeyId:                  aws.String(k.ARN), KeySpec: types.KeySpec(k.Spec), KeyUsage: types.KeyUsageType(k.Usage),
		PublicKey:         spki,
		SigningAlgorithms: names[types.SigningAlgorithmSpec](k.SigningAlgorithms()),
	}, nil
}
