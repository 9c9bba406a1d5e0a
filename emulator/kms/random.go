package kms

import (
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

// generateRandom uses no key, so identity policies decide alone; they can have
// conditions on the document too.
func (c *call) generateRandom(in *kms.GenerateRandomInput) (*kms.GenerateRandomOutput, error) {
	var v validation
	if in.NumberOfBytes == nil {
		v.fail("null", "numberOfBytes", "not be null")
	}
	v.number("numberOfBytes", in.NumberOfBytes, 1, keys.MaxRandom)
	v.recipient(in.Recipient)
	if err := v.err(); err != nil {
		return nil, err
	}
	if in.CustomKeyStoreId != nil {
		return nil, unsupported("custom key stores")
	}
	to, err := c.recipient(in.Recipient)
	if err != nil {
		return nil, err
	}
	if err := c.authorize(access{action: "GenerateRandom", recipient: to}); err != nil {
		return nil, err
	}
	random, err := c.s.cfg.Ring.GenerateRandom(int(*in.NumberOfBytes))
	if err != nil {
		return nil, err
	}
	out := &kms.GenerateRandomOutput{}
	out.Plaintext, out.CiphertextForRecipient, err = c.release(to, random)
	return out, err
}
