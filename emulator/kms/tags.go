package kms

import (
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

func (c *call) tagResource(in *kms.TagResourceInput) error {
	var v validation
	v.keyID("keyId", in.KeyId)
	if in.Tags == nil {
		v.fail("null", "tags", "not be null")
	}
	tags := v.tags(in.Tags)
	if err := v.err(); err != nil {
		return err
	}
	k, err := c.open(in.KeyId, "TagResource", conditions{}.withTags(tags))
	if err != nil {
		return err
	}
	return c.s.cfg.Ring.Tag(k.ID, tags)
}

func (c *call) untagResource(in *kms.UntagResourceInput) error {
	var v validation
	v.keyID("keyId", in.KeyId)
	if in.TagKeys == nil {
		v.fail("null", "tagKeys", "not be null")
	}
	for i, key := range in.TagKeys {
		v.optional(fmt.Sprintf("tagKeys.%d.member", i+1), &key, 1, keys.MaxTagKey)
	}
	if err := v.err(); err != nil {
		return err
	}
	more := conditions{}
	if len(in.TagKeys) > 0 {
		more["aws:TagKeys"] = slices.Clone(in.TagKeys)
	}
	k, err := c.open(in.KeyId, "UntagResource", more)
	if err != nil {
		return err
	}
	return c.s.cfg.Ring.Untag(k.ID, in.TagKeys)
}
