// Package weights is the part of a model's owner in confidential inference: it
// makes a key that only one enclave image gets, and encrypts the weights under it.
//
// The owner is none of the parties that run the model. It calls the key service as
// anyone calls AWS's, with the stock SDK, and hands the ciphertext to whoever runs
// the instance.
package weights

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/guest/inference/sealed"
)

// A Release says who gets the key.
type Release struct {
	// Account owns the key: its administrators may change the policy, and may not
	// decrypt.
	Account string

	// Role is the ARN of the parent instance's role, whose credentials the enclave
	// uses.
	Role string

	// PCRs are the conditions, by index: PCR0 of the image and, for a signed one,
	// PCR8 of the signing certificate, 48 bytes each.
	PCRs map[uint][]byte

	// Context is the encryption context without which the key cannot be used.
	Context map[string]string
}

// administration is what a key's account may do. None of it gives anyone the key,
// but PutKeyPolicy can: whoever administers the key is trusted.
var administration = []string{
	"kms:Create*", "kms:Describe*", "kms:Enable*", "kms:List*", "kms:Put*", "kms:Update*", "kms:Revoke*",
	"kms:Disable*", "kms:Get*", "kms:Delete*", "kms:TagResource", "kms:UntagResource",
	"kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion",
	"kms:GenerateDataKey", // to encrypt weights, which the owner has anyway
}

// Policy is the key policy of a release (AWS KMS developer guide, "Using condition
// keys for attested platforms").
func (r Release) Policy() string {
	conditions := map[string]string{}
	for i, v := range r.PCRs {
		conditions[fmt.Sprintf("kms:RecipientAttestation:PCR%d", i)] = fmt.Sprintf("%x", v)
	}
	context := map[string]string{}
	for k, v := range r.Context {
		context["kms:EncryptionContext:"+k] = v
	}
	type object = map[string]any
	release := object{
		"Sid": "MeasuredEnclave", "Effect": "Allow",
		"Principal": object{"AWS": r.Role},
		"Action":    "kms:Decrypt", "Resource": "*",
	}
	enclave := object{} // an operator without keys would always be true, and is refused
	if len(conditions) > 0 {
		enclave["StringEqualsIgnoreCase"] = conditions
	}
	if len(context) > 0 {
		enclave["StringEquals"] = context
	}
	if len(enclave) > 0 {
		release["Condition"] = enclave
	}
	text, err := json.Marshal(object{
		"Version": "2012-10-17",
		"Statement": []object{
			{
				"Sid": "Administration", "Effect": "Allow",
				"Principal": object{"AWS": "arn:aws:iam::" + r.Account + ":root"},
				"Action":    administration, "Resource": "*",
			},
			release,
		},
	})
	if err != nil {
		panic(err) // strings in maps always marshal
	}
	return string(text)
}

// A Model is what the owner publishes.
type Model struct {
	Name    string
	Alias   string // of the key, with alias/ in front
	Weights []byte
}

// Published is what came of it.
type Published struct {
	KeyARN string
	Sealed []byte // for the parent: guest/inference/sealed
}

// Publish makes a key for r under m's alias, has it make a data key, and encrypts
// the weights with that.
func Publish(ctx context.Context, client *kms.Client, r Release, m Model) (Published, error) {
	key, err := CreateKey(ctx, client, r.Policy(), m.Alias)
	if err != nil {
		return Published{}, err
	}
	text, err := Encrypt(ctx, client, key, r.Context, m)
	if err != nil {
		return Published{}, err
	}
	return Published{KeyARN: key, Sealed: text}, nil
}

// CreateKey makes a key with a policy and gives it an alias that no key has.
func CreateKey(ctx context.Context, client *kms.Client, policy, alias string) (arn string, err error) {
	key, err := client.CreateKey(ctx, &kms.CreateKeyInput{
		Description: aws.String("model weights"),
		Policy:      aws.String(policy),
	})
	if err != nil {
		return "", fmt.Errorf("create the key of the weights: %w", err)
	}
	arn = aws.ToString(key.KeyMetadata.Arn)
	_, err = client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String(alias), TargetKeyId: &arn})
	if err != nil {
		return "", fmt.Errorf("name the key of the weights: %w", err)
	}
	return arn, nil
}

// Encrypt seals weights under a data key of the given key.
func Encrypt(ctx context.Context, client *kms.Client, key string, encryption map[string]string, m Model) ([]byte, error) {
	data, err := client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
		KeyId: &key, KeySpec: types.DataKeySpecAes256, EncryptionContext: encryption,
	})
	if err != nil {
		return nil, fmt.Errorf("get a data key for the weights: %w", err)
	}
	defer clear(data.Plaintext)
	var out bytes.Buffer
	header := sealed.Header{Name: m.Name, KeyID: aws.ToString(data.KeyId), WrappedKey: data.CiphertextBlob, Context: encryption}
	if err := sealed.Seal(&out, data.Plaintext, header, m.Weights); err != nil {
		return nil, fmt.Errorf("encrypt the weights: %w", err)
	}
	return out.Bytes(), nil
}
