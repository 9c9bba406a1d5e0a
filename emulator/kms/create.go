package kms

import (
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

func (c *call) createKey(in *kms.CreateKeyInput) (*kms.CreateKeyOutput, error) {
	//lint:ignore SA1019 clients of before 2022 send it
	older := in.CustomerMasterKeySpec
	var v validation
	v.optional("description", in.Description, 0, keys.MaxDescription)
	v.optional("policy", in.Policy, 1, keys.MaxPolicy)
	one(&v, "keySpec", in.KeySpec)
	one(&v, "customerMasterKeySpec", older)
	one(&v, "keyUsage", in.KeyUsage)
	one(&v, "origin", in.Origin)
	tags := v.tags(in.Tags)
	if err := v.err(); err != nil {
		return nil, err
	}
	d := keys.Description{
		Spec: keys.Spec(in.KeySpec), Usage: keys.Usage(in.KeyUsage), Description: value(in.Description), Tags: tags,
	}
	if older != "" {
		if in.KeySpec != "" {
			return nil, refuse(codeValidation, "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")
		}
		d.Spec = keys.Spec(older)
	}
	switch {
	case in.CustomKeyStoreId != nil || in.XksKeyId != nil:
		return nil, unsupported("custom key stores")
	case in.Origin != "" && in.Origin != types.OriginTypeAwsKms:
		return nil, unsupported("keys with origin " + string(in.Origin))
	case value(in.MultiRegion):
		return nil, unsupported("multi-Region keys")
	}
	if err := c.mayCreate(in, d); err != nil {
		return nil, err
	}
	if in.Policy == nil {
		d.Policy = defaultPolicy(c.s.cfg.Account)
	} else {
		d.Policy = *in.Policy
		// The policy cannot name the key by an id that is yet to be made; any will do.
		if err := c.checkPolicy(d.Policy, c.s.cfg.Ring.KeyARN(noKeyID), in.BypassPolicyLockoutSafetyCheck); err != nil {
			return nil, err
		}
	}
	k, err := c.s.cfg.Ring.Create(d)
	if err != nil {
		return nil, err
	}
	c.uses(k)
	return &kms.CreateKeyOutput{KeyMetadata: metadata(k)}, nil
}

// noKeyID is a well-formed key id that no key has (RFC 9562 section 5.9, nil UUID).
const noKeyID = "00000000-0000-0000-0000-000000000000"

// mayCreate asks the identity policies, about the tags too.
func (c *call) mayCreate(in *kms.CreateKeyInput, d keys.Description) error {
	if c.foreign() {
		return unsupported("keys of account " + c.identity.Principal.Account + "; all keys of this service belong to " + c.s.cfg.Account)
	}
	more := conditions{}.withTags(d.Tags)
	spec, usage := d.Spec, d.Usage
	if spec == "" {
		spec = keys.Symmetric
	}
	if usage == "" {
		usage = keys.EncryptDecrypt
	}
	more.set("kms:KeySpec", string(spec))
	more.set("kms:CustomerMasterKeySpec", string(spec))
	more.set("kms:KeyUsage", string(usage))
	more.set("kms:CustomerMasterKeyUsage", string(usage))
	more.set("kms:KeyOrigin", string(types.OriginTypeAwsKms))
	more.setBool("kms:MultiRegion", false)
	more.setBool("kms:BypassPolicyLockoutSafetyCheck", in.BypassPolicyLockoutSafetyCheck)
	if err := c.authorize(access{action: "CreateKey", more: more}); err != nil {
		return err
	}
	if len(d.Tags) == 0 {
		return nil
	}
	return c.authorize(access{action: "TagResource", more: more})
}
