package kms

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

// list checks Limit and Marker.
func (v *validation) list(limit *int32, most int32, marker *string) {
	v.number("limit", limit, 1, most)
	v.optional("marker", marker, 1, 1024)
}

func invalidMarker() *exception {
	return refuse(codeInvalidMarker, "the marker is not one of an answer of this service")
}

// page gives the names of sorted that follow marker, at most limit, and the marker
// of the next page, nil on the last.
func page(sorted []string, limit int, marker *string) (names []string, next *string, err error) {
	if marker != nil {
		last, err := base64.RawURLEncoding.DecodeString(*marker)
		if err != nil || len(last) == 0 {
			return nil, nil, invalidMarker()
		}
		i, found := slices.BinarySearch(sorted, string(last))
		if found {
			i++
		}
		sorted = sorted[i:]
	}
	if len(sorted) <= limit {
		return sorted, nil, nil
	}
	return sorted[:limit], aws.String(base64.RawURLEncoding.EncodeToString([]byte(sorted[limit-1]))), nil
}

func (c *call) listKeys(in *kms.ListKeysInput) (*kms.ListKeysOutput, error) {
	var v validation
	v.list(in.Limit, keys.MaxListKeys, in.Marker)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := c.authorize(access{action: "ListKeys"}); err != nil {
		return nil, err
	}
	out := &kms.ListKeysOutput{Keys: []types.KeyListEntry{}}
	if c.foreign() {
		return out, nil // the caller's own account has none here
	}
	list, next, err := c.s.cfg.Ring.List(int(value(in.Limit)), value(in.Marker))
	if err != nil {
		return nil, err
	}
	for _, k := range list {
		out.Keys = append(out.Keys, types.KeyListEntry{KeyArn: aws.String(k.ARN), KeyId: aws.String(k.ID)})
	}
	out.NextMarker, out.Truncated = present(next), next != ""
	return out, nil
}

func (c *call) listAliases(in *kms.ListAliasesInput) (*kms.ListAliasesOutput, error) {
	var v validation
	v.optional("keyId", in.KeyId, 1, keys.MaxKeyID)
	v.list(in.Limit, keys.MaxListAliases, in.Marker)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := c.authorize(access{action: "ListAliases"}); err != nil {
		return nil, err
	}
	out := &kms.ListAliasesOutput{Aliases: []types.AliasListEntry{}}
	if c.foreign() && in.KeyId == nil {
		return out, nil
	}
	id := ""
	if in.KeyId != nil {
		if aliasIn(*in.KeyId) != "" {
			return nil, refuse("InvalidArnException", "KeyId is an alias; a key id or a key ARN is expected")
		}
		k, err := c.key(*in.KeyId)
		if err != nil {
			return nil, err
		}
		if c.foreign() {
			return nil, c.notForYou()
		}
		id = k.ID
	}
	list, next, err := c.s.cfg.Ring.ListAliases(id, int(value(in.Limit)), value(in.Marker))
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		out.Aliases = append(out.Aliases, types.AliasListEntry{
			AliasArn: aws.String(a.ARN), AliasName: aws.String(a.Name), TargetKeyId: aws.String(a.KeyID),
			CreationDate: aws.Time(a.Created), LastUpdatedDate: aws.Time(a.Updated),
		})
	}
	out.NextMarker, out.Truncated = present(next), next != ""
	return out, nil
}

// listGrants gives none: there are no grants to list, since none can be created.
func (c *call) listGrants(in *kms.ListGrantsInput) (*kms.ListGrantsOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	v.list(in.Limit, 100, in.Marker)
	if err := v.err(); err != nil {
		return nil, err
	}
	if _, err := c.open(in.KeyId, "ListGrants", nil); err != nil {
		return nil, err
	}
	if in.Marker != nil {
		return nil, invalidMarker()
	}
	return &kms.ListGrantsOutput{Grants: []types.GrantListEntry{}}, nil
}

func (c *call) listResourceTags(in *kms.ListResourceTagsInput) (*kms.ListResourceTagsOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	v.list(in.Limit, keys.MaxTags, in.Marker)
	if err := v.err(); err != nil {
		return nil, err
	}
	k, err := c.open(in.KeyId, "ListResourceTags", nil)
	if err != nil {
		return nil, err
	}
	limit := keys.MaxTags
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	tagKeys := make([]string, 0, len(k.Tags))
	for key := range k.Tags {
		tagKeys = append(tagKeys, key)
	}
	slices.SortFunc(tagKeys, strings.Compare)
	tagKeys, next, err := page(tagKeys, limit, in.Marker)
	if err != nil {
		return nil, err
	}
	out := &kms.ListResourceTagsOutput{Tags: []types.Tag{}, NextMarker: next, Truncated: next != nil}
	for _, key := range tagKeys {
		out.Tags = append(out.Tags, types.Tag{TagKey: aws.String(key), TagValue: aws.String(k.Tags[key])})
	}
	return out, nil
}
