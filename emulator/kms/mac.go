package kms

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

func withMAC(a types.MacAlgorithmSpec) conditions {
	m := conditions{}
	m.set("kms:MacAlgorithm", string(a))
	return m
}

func (c *call) generateMac(in *kms.GenerateMacInput) (*kms.GenerateMacOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	v.blob("message", in.Message, keys.MaxPlaintext)
	needed(&v, "macAlgorithm", in.MacAlgorithm)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := c.grantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	k, err := c.open(in.KeyId, "GenerateMac", withMAC(in.MacAlgorithm))
	if err != nil {
		return nil, err
	}
	mac, err := c.s.cfg.Ring.GenerateMAC(k.ID, keys.MACAlgorithm(in.MacAlgorithm), in.Message)
	if err != nil {
		return nil, err
	}
	return &kms.GenerateMacOutput{KeyId: aws.String(k.ARN), Mac: mac, MacAlgorithm: in.MacAlgorithm}, c.dry(in.DryRun)
}

func (c *call) verifyMac(in *kms.VerifyMacInput) (*kms.VerifyMacOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	v.blob("message", in.Message, keys.MaxPlaintext)
	v.blob("mac", in.Mac, keys.MaxSignature)
	needed(&v, "macAlgorithm", in.MacAlgorithm)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := c.grantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	k, err := c.open(in.KeyId, "VerifyMac", withMAC(in.MacAlgorithm))
	if err != nil {
		return nil, err
	}
	if err := c.s.cfg.Ring.VerifyMAC(k.ID, keys.MACAlgorithm(in.MacAlgorithm), in.Message, in.Mac); err != nil {
		return nil, err
	}
	return &kms.VerifyMacOutput{KeyId: aws.String(k.ARN), MacAlgorithm: in.MacAlgorithm, MacValid: true}, c.dry(in.DryRun)
}
