package kms

import (
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

// mayChangeAlias asks for permission on both sides, as the service does: on the
// alias, which identity policies give alone, and on each key it points or will
// point to (KMS developer guide, "Controlling access to aliases").
func (c *call) mayChangeAlias(action, name string, targets ...*keys.Key) error {
	if c.foreign() {
		return c.notForYou()
	}
	if err := c.authorize(access{action: action, resource: c.s.cfg.Ring.AliasARN(name)}); err != nil {
		return err
	}
	for _, k := range targets {
		if err := c.authorize(access{action: action, key: k}); err != nil {
			return err
		}
	}
	return nil
}

// target finds the key an alias is to point to, which must not be named by an alias
// in turn.
func (c *call) target(id string) (*keys.Key, error) {
	if aliasIn(id) != "" {
		return nil, refuse(codeValidation, "Aliases must refer to keys. Not aliases")
	}
	return c.key(id)
}

func (c *call) createAlias(in *kms.CreateAliasInput) error {
	var v validation
	v.text("aliasName", in.AliasName, 1, keys.MaxAliasName)
	v.keyID("targetKeyId", in.TargetKeyId)
	if err := v.err(); err != nil {
		return err
	}
	k, err := c.target(*in.TargetKeyId)
	if err != nil {
		return err
	}
	if err := c.mayChangeAlias("CreateAlias", *in.AliasName, k); err != nil {
		return err
	}
	return c.s.cfg.Ring.CreateAlias(*in.AliasName, k.ID)
}

func (c *call) updateAlias(in *kms.UpdateAliasInput) error {
	var v validation
	v.text("aliasName", in.AliasName, 1, keys.MaxAliasName)
	v.keyID("targetKeyId", in.TargetKeyId)
	if err := v.err(); err != nil {
		return err
	}
	now, err := c.target(*in.TargetKeyId)
	if err != nil {
		return err
	}
	was, err := c.aliased(*in.AliasName)
	if err != nil {
		return err
	}
	if err := c.mayChangeAlias("UpdateAlias", *in.AliasName, was, now); err != nil {
		return err
	}
	return c.s.cfg.Ring.UpdateAlias(*in.AliasName, now.ID)
}

func (c *call) deleteAlias(in *kms.DeleteAliasInput) error {
	var v validation
	v.text("aliasName", in.AliasName, 1, keys.MaxAliasName)
	if err := v.err(); err != nil {
		return err
	}
	k, err := c.aliased(*in.AliasName)
	if err != nil {
		return err
	}
	if err := c.mayChangeAlias("DeleteAlias", *in.AliasName, k); err != nil {
		return err
	}
	return c.s.cfg.Ring.DeleteAlias(*in.AliasName)
}

// aliased is the key an alias of that name points to.
func (c *call) aliased(name string) (*keys.Key, error) {
	if c.foreign() {
		return nil, c.notForYou()
	}
	a, err := c.s.cfg.Ring.Alias(name)
	if err != nil {
		return nil, err
	}
	return c.s.cfg.Ring.Get(a.KeyID)
}
