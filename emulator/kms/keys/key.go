package keys

import (
	"maps"
	"slices"
	"time"
)

// A Key is what a Ring tells of one key at one moment. It is immutable, shared and
// holds no key material: readers must not change it, and a change in the ring makes
// another Key.
type Key struct {
	ID      string // UUID, version 4
	ARN     string // arn:<partition>:kms:<region>:<account>:key/<ID>
	Account string // 12 digits, of the ring

	Spec  Spec
	Usage Usage
	State State

	Description string            // 0..8192 characters
	Policy      string            // the key policy document, up to 32768 bytes
	Tags        map[string]string // up to 50

	Created      time.Time
	DeletionDate time.Time // of a key in PendingDeletion; else zero

	// MaterialID names the current material, 64 hex digits. It is empty for
	// everything but Symmetric, the only kind that rotates.
	MaterialID string
	Materials  []Material // of Symmetric, oldest first; the last is the current one

	Rotation Rotation
}

// A Material is the public part of one generation of a symmetric key's material.
type Material struct {
	ID    string       // 64 hex digits
	Since time.Time    // when it became the current one
	Type  RotationType // how; empty for the first
}

// A RotationType is a RotationType of ListKeyRotations.
type RotationType string

// Rotation types.
const (
	Automatic RotationType = "AUTOMATIC"
	OnDemand  RotationType = "ON_DEMAND"
)

// Rotation is the schedule by which a symmetric key gets new material. The zero
// value is none.
type Rotation struct {
	Enabled    bool
	PeriodDays int       // 90..2560
	Next       time.Time // when new material is due, if the key is Enabled then
}

// An Alias is a friendly name of a key.
type Alias struct {
	Name    string // begins with alias/
	ARN     string
	KeyID   string
	Created time.Time
	Updated time.Time
}

// OnDemandRotations counts the rotations of RotateKeyOnDemand, of which a key has
// [MaxOnDemandRotations].
func (k *Key) OnDemandRotations() int {
	n := 0
	for _, m := range k.Materials {
		if m.Type == OnDemand {
			n++
		}
	}
	return n
}

// clone is a copy that may be changed.
func (k *Key) clone() *Key {
	c := *k
	c.Tags = maps.Clone(k.Tags)
	c.Materials = slices.Clone(k.Materials)
	return &c
}

// due is when the passing of time alone changes the key; zero is never.
func (k *Key) due() time.Time {
	switch {
	case k.State == PendingDeletion:
		return k.DeletionDate
	case k.State == Enabled && k.Rotation.Enabled:
		return k.Rotation.Next
	}
	return time.Time{}
}

// usable says whether the key may be used for a cryptographic operation now. The
// sentences are those of the developer guide's page on key states.
func (k *Key) usable() error {
	switch k.State {
	case Enabled:
		return nil
	case Disabled:
		return fail(ErrDisabled, "%s is disabled.", k.ARN)
	}
	return k.pending()
}

// notPending refuses to change a key that is waiting for its end.
func (k *Key) notPending() error {
	if k.State == PendingDeletion {
		return k.pending()
	}
	return nil
}

func (k *Key) pending() error { return fail(ErrInvalidState, "%s is pending deletion.", k.ARN) }

// usableFor is usable for one purpose.
func (k *Key) usableFor(u Usage) error {
	if err := k.usable(); err != nil {
		return err
	}
	if k.Usage != u {
		return fail(ErrInvalidUsage, "%s key usage is %s which is not valid for this operation, which needs %s.", k.ARN, k.Usage, u)
	}
	return nil
}
