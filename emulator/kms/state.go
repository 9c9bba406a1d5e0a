package kms

import (
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

func (c *call) enableKey(in *kms.EnableKeyInput) error {
	return c.setEnabled(in.KeyId, "EnableKey", true)
}

func (c *call) disableKey(in *kms.DisableKeyInput) error {
	return c.setEnabled(in.KeyId, "DisableKey", false)
}

func (c *call) setEnabled(id *string, action string, enabled bool) error {
	k, err := c.openByID(id, action, nil)
	if err != nil {
		return err
	}
	return c.s.cfg.Ring.SetEnabled(k.ID, enabled)
}

// openByID is open for an operation with no other member.
func (c *call) openByID(id *string, action string, more conditions) (*keys.Key, error) {
	var v validation
	v.keyID("keyId", id)
	if err := v.err(); err != nil {
		return nil, err
	}
	return c.open(id, action, more)
}

func (c *call) scheduleKeyDeletion(in *kms.ScheduleKeyDeletionInput) (*kms.ScheduleKeyDeletionOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	v.number("pendingWindowInDays", in.PendingWindowInDays, keys.MinWaitingDays, keys.MaxWaitingDays)
	if err := v.err(); err != nil {
		return nil, err
	}
	days := keys.DefaultWaitingDays
	if in.PendingWindowInDays != nil {
		days = int(*in.PendingWindowInDays)
	}
	more := conditions{}
	more.set("kms:ScheduleKeyDeletionPendingWindowInDays", strconv.Itoa(days))
	k, err := c.open(in.KeyId, "ScheduleKeyDeletion", more)
	if err != nil {
		return nil, err
	}
	if k, err = c.s.cfg.Ring.ScheduleDeletion(k.ID, days); err != nil {
		return nil, err
	}
	return &kms.ScheduleKeyDeletionOutput{
		DeletionDate: aws.Time(k.DeletionDate), KeyId: aws.String(k.ARN),
		KeyState: types.KeyState(k.State), PendingWindowInDays: aws.Int32(int32(days)), // 7 to 30
	}, nil
}

func (c *call) cancelKeyDeletion(in *kms.CancelKeyDeletionInput) (*kms.CancelKeyDeletionOutput, error) {
	k, err := c.openByID(in.KeyId, "CancelKeyDeletion", nil)
	if err != nil {
		return nil, err
	}
	if _, err := c.s.cfg.Ring.CancelDeletion(k.ID); err != nil {
		return nil, err
	}
	return &kms.CancelKeyDeletionOutput{KeyId: aws.String(k.ARN)}, nil
}
