package kms

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

// withSigning adds the condition keys of Sign and Verify.
func withSigning(a types.SigningAlgorithmSpec, t types.MessageType) conditions {
	if t == "" {
		t = types.MessageTypeRaw
	}
	m := conditions{}
	m.set("kms:SigningAlgorithm", string(a))
	m.set("kms:MessageType", string(t))
	return m
}

func (c *call) sign(in *kms.SignInput) (*kms.SignOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	v.blob("message", in.Message, keys.MaxPlaintext)
	one(&v, "messageType", in.MessageType)
	needed(&v, "signingAlgorithm", in.SigningAlgorithm)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := c.grantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	k, err := c.open(in.KeyId, "Sign", withSigning(in.SigningAlgorithm, in.MessageType))
	if err != nil {
		return nil, err
	}
	signature, err := c.s.cfg.Ring.Sign(k.ID, keys.SigningAlgorithm(in.SigningAlgorithm), keys.MessageType(in.MessageType), in.Message)
	if err != nil {
		return nil, err
	}
	return &kms.SignOutput{KeyId: aws.String(k.ARN), Signature: signature, SigningAlgorithm: in.SigningAlgorithm}, c.dry(in.DryRun)
}

func (c *call) verify(in *kms.VerifyInput) (*kms.VerifyOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	v.blob("message", in.Message, keys.MaxPlaintext)
	one(&v, "messageType", in.MessageType)
	v.blob("signature", in.Signature, keys.MaxSignature)
	needed(&v, "signingAlgorithm", in.SigningAlgorithm)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := c.grantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	k, err := c.open(in.KeyId, "Verify", withSigning(in.SigningAlgorithm, in.MessageType))
	if err != nil {
		return nil, err
	}
	err = c.s.cfg.Ring.Verify(k.ID, keys.SigningAlgorithm(in.SigningAlgorithm), keys.MessageType(in.MessageType), in.Message, in.Signature)
	if err != nil {
		return nil, err
	}
	return &kms.VerifyOutput{KeyId: aws.String(k.ARN), SignatureValid: true, SigningAlgorithm: in.SigningAlgorithm}, c.dry(in.DryRun)
}
