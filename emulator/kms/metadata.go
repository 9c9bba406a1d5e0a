package kms

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

// metadata is what DescribeKey and CreateKey tell of a key.
func metadata(k *keys.Key) *types.KeyMetadata {
	return &types.KeyMetadata{
		AWSAccountId:         aws.String(k.Account),
		Arn:                  aws.String(k.ARN),
		CreationDate:         aws.Time(k.Created),
		CurrentKeyMaterialId: present(k.MaterialID),
		//lint:ignore SA1019 the service sends it still, and older clients read it
		CustomerMasterKeySpec:  types.CustomerMasterKeySpec(k.Spec),
		DeletionDate:           moment(k.DeletionDate),
		Description:            aws.String(k.Description),
		Enabled:                k.State == keys.Enabled,
		EncryptionAlgorithms:   names[types.EncryptionAlgorithmSpec](k.EncryptionAlgorithms()),
		KeyAgreementAlgorithms: names[types.KeyAgreementAlgorithmSpec](k.AgreementAlgorithms()),
		KeyId:                  aws.String(k.ID),
		KeyManager:             types.KeyManagerTypeCustomer,
		KeySpec:                types.KeySpec(k.Spec),
		KeyState:               types.KeyState(k.State),
		KeyUsage:               types.KeyUsageType(k.Usage),
		MacAlgorithms:          names[types.MacAlgorithmSpec](k.MACAlgorithms()),
		MultiRegion:            aws.Bool(false),
		Origin:                 types.OriginTypeAwsKms,
		SigningAlgorithms:      names[types.SigningAlgorithmSpec](k.SigningAlgorithms()),
	}
}

// names turns an enumeration of package keys into that of the SDK: the words are
// the same.
func names[To, From ~string](list []From) []To {
	if len(list) == 0 {
		return nil
	}
	converted := make([]To, len(list))
	for i, name := range list {
		converted[i] = To(name)
	}
	return converted
}

// present is a member that is left out if it is empty.
func present(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (c *call) describeKey(in *kms.DescribeKeyInput) (*kms.DescribeKeyOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := c.grantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	k, err := c.open(in.KeyId, "DescribeKey", nil)
	if err != nil {
		return nil, err
	}
	return &kms.DescribeKeyOutput{KeyMetadata: metadata(k)}, nil
}

func (c *call) updateKeyDescription(in *kms.UpdateKeyDescriptionInput) error {
	var v validation
	v.keyID("keyId", in.KeyId)
	v.text("description", in.Description, 0, keys.MaxDescription)
	if err := v.err(); err != nil {
		return err
	}
	k, err := c.open(in.KeyId, "UpdateKeyDescription", nil)
	if err != nil {
		return err
	}
	return c.s.cfg.Ring.SetDescription(k.ID, *in.Description)
}
