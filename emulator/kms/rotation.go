package kms

import (
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

func (c *call) enableKeyRotation(in *kms.EnableKeyRotationInput) error {
	var v validation
	v.keyID("keyId", in.KeyId)
	v.number("rotationPeriodInDays", in.RotationPeriodInDays, keys.MinRotationDays, keys.MaxRotationDays)
	if err := v.err(); err != nil {
		return err
	}
	days := keys.DefaultRotationDays
	if in.RotationPeriodInDays != nil {
		days = int(*in.RotationPeriodInDays)
	}
	more := conditions{}
	more.set("kms:RotationPeriodInDays", strconv.Itoa(days))
	k, err := c.open(in.KeyId, "EnableKeyRotation", more)
	if err != nil {
		return err
	}
	return c.s.cfg.Ring.SetRotation(k.ID, true, days)
}

func (c *call) disableKeyRotation(in *kms.DisableKeyRotationInput) error {
	k, err := c.openByID(in.KeyId, "DisableKeyRotation", nil)
	if err != nil {
		return err
	}
	return c.s.cfg.Ring.SetRotation(k.ID, false, 0)
}

func (c *call) getKeyRotationStatus(in *kms.GetKeyRotationStatusInput) (*kms.GetKeyRotationStatusOutput, error) {
	k, err := c.openByID(in.KeyId, "GetKeyRotationStatus", nil)
	if err != nil {
		return nil, err
	}
	if k.Spec != keys.Symmetric {
		return nil, onlySymmetric(k)
	}
	out := &kms.GetKeyRotationStatusOutput{KeyId: aws.String(k.ARN), KeyRotationEnabled: k.Rotation.Enabled}
	if k.Rotation.Enabled {
		out.NextRotationDate = moment(k.Rotation.Next)
		out.RotationPeriodInDays = aws.Int32(int32(k.Rotation.PeriodDays)) // 90 to 2560
	}
	return out, nil
}

func (c *call) rotateKeyOnDemand(in *kms.RotateKeyOnDemandInput) (*kms.RotateKeyOnDemandOutput, error) {
	k, err := c.openByID(in.KeyId, "RotateKeyOnDemand", nil)
	if err != nil {
		return nil, err
	}
	if _, err := c.s.cfg.Ring.Rotate(k.ID); err != nil {
		return nil, err
	}
	return &kms.RotateKeyOnDemandOutput{KeyId: aws.String(k.ARN)}, nil
}

// listKeyRotations lists the materials that came by rotation, or all, oldest first.
func (c *call) listKeyRotations(in *kms.ListKeyRotationsInput) (*kms.ListKeyRotationsOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	v.list(in.Limit, 1000, in.Marker)
	one(&v, "includeKeyMaterial", in.IncludeKeyMaterial)
	if err := v.err(); err != nil {
		return nil, err
	}
	k, err := c.open(in.KeyId, "ListKeyRotations", nil)
	if err != nil {
		return nil, err
	}
	if k.Spec != keys.Symmetric {
		return nil, onlySymmetric(k)
	}
	// Materials are named by their place, which is also their order.
	var places []string
	for i, m := range k.Materials {
		if m.Type != "" || in.IncludeKeyMaterial == types.IncludeKeyMaterialAllKeyMaterial {
			places = append(places, fmt.Sprintf("%08d", i))
		}
	}
	limit := 100
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	shown, next, err := page(places, limit, in.Marker)
	if err != nil {
		return nil, err
	}
	out := &kms.ListKeyRotationsOutput{Rotations: []types.RotationsListEntry{}, NextMarker: next, Truncated: next != nil}
	for _, place := range shown {
		i, err := strconv.Atoi(place)
		if err != nil {
			return nil, err // places are made above
		}
		out.Rotations = append(out.Rotations, rotationEntry(k, k.Materials[i]))
	}
	return out, nil
}

func rotationEntry(k *keys.Key, m keys.Material) types.RotationsListEntry {
	entry := types.RotationsListEntry{
		KeyId: aws.String(k.ARN), KeyMaterialId: aws.String(m.ID), KeyMaterialState: types.KeyMaterialStateNonCurrent,
		RotationType: types.RotationType(m.Type),
	}
	if m.ID == k.MaterialID {
		entry.KeyMaterialState = types.KeyMaterialStateCurrent
	}
	if m.Type != "" {
		entry.RotationDate = aws.Time(m.Since)
	}
	return entry
}

func onlySymmetric(k *keys.Key) *exception {
	return refuse(codeUnsupported, "%s has KeySpec %s; only SYMMETRIC_DEFAULT keys rotate", k.ARN, k.Spec)
}
