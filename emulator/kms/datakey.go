package kms

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

// size of a data key: of the two members one is there.
func (v *validation) size(spec types.DataKeySpec, n *int32) {
	one(v, "keySpec", spec)
	v.number("numberOfBytes", n, 1, keys.MaxRandom)
}

func dataKeySize(spec types.DataKeySpec, n *int32) (int, error) {
	switch {
	case (spec == "") == (n == nil):
		return 0, refuse(codeValidation, "Please specify either number of bytes or key spec.")
	case n != nil:
		return int(*n), nil
	case spec == types.DataKeySpecAes128:
		return 16, nil
	}
	return 32, nil // AES_256; validated
}

func (c *call) generateDataKey(in *kms.GenerateDataKeyInput) (*kms.GenerateDataKeyOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	v.size(in.KeySpec, in.NumberOfBytes)
	v.context("encryptionContext", in.EncryptionContext)
	v.recipient(in.Recipient)
	if err := v.err(); err != nil {
		return nil, err
	}
	size, err := dataKeySize(in.KeySpec, in.NumberOfBytes)
	if err != nil {
		return nil, err
	}
	if err := c.grantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	to, k, err := c.openAttested(in.KeyId, in.Recipient, "GenerateDataKey", withAlgorithm("", in.EncryptionContext))
	if err != nil {
		return nil, err
	}
	key, err := c.s.cfg.Ring.GenerateDataKey(k.ID, size, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	if err := c.dry(in.DryRun); err != nil {
		return nil, err
	}
	out := &kms.GenerateDataKeyOutput{CiphertextBlob: key.Blob, KeyId: aws.String(k.ARN)}
	if to == nil {
		out.KeyMaterialId = present(key.MaterialID)
	}
	out.Plaintext, out.CiphertextForRecipient, err = c.release(to, key.Plaintext)
	return out, err
}

// openAttested is open for a request with a Recipient.
func (c *call) openAttested(id *string, r *types.RecipientInfo, action string, more conditions) (*recipient, *keys.Key, error) {
	to, err := c.recipient(r)
	if err != nil {
		return nil, nil, err
	}
	k, err := c.key(*id)
	if err != nil {
		return nil, nil, err
	}
	return to, k, c.authorize(access{action: action, key: k, asked: *id, more: more, recipient: to})
}

func (c *call) generateDataKeyWithoutPlaintext(in *kms.GenerateDataKeyWithoutPlaintextInput) (*kms.GenerateDataKeyWithoutPlaintextOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	v.size(in.KeySpec, in.NumberOfBytes)
	v.context("encryptionContext", in.EncryptionContext)
	if err := v.err(); err != nil {
		return nil, err
	}
	// The size may be left out here: nobody is to see the key (KMS API reference).
	size := 32
	if in.KeySpec != "" || in.NumberOfBytes != nil {
		var err error
		if size, err = dataKeySize(in.KeySpec, in.NumberOfBytes); err != nil {
			return nil, err
		}
	}
	if err := c.grantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	k, err := c.open(in.KeyId, "GenerateDataKeyWithoutPlaintext", withAlgorithm("", in.EncryptionContext))
	if err != nil {
		return nil, err
	}
	key, err := c.s.cfg.Ring.GenerateDataKey(k.ID, size, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	key.Plaintext.Wipe()
	return &kms.GenerateDataKeyWithoutPlaintextOutput{
		CiphertextBlob: key.Blob, KeyId: aws.String(k.ARN), KeyMaterialId: present(key.MaterialID),
	}, c.dry(in.DryRun)
}
