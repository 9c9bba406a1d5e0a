package keys

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// operation is something done to a key; it returns the error only.
type operation struct {
	name     string
	spec     Spec
	usage    Usage
	disabled error // in state Disabled
	pending  error // in state PendingDeletion
	do       func(r *Ring, id string) error
}

func ignore[T any](_ T, err error) error { return err }

// operations, and what the developer guide's table of key states says of them.
var operations = []operation{
	{"Encrypt", Symmetric, EncryptDecrypt, ErrDisabled, ErrInvalidState, func(r *Ring, id string) error {
		return ignore(r.Encrypt(id, "", []byte("p"), nil))
	}},
	{"Encrypt with RSA", RSA2048, EncryptDecrypt, ErrDisabled, ErrInvalidState, func(r *Ring, id string) error {
		return ignore(r.Encrypt(id, OAEPSHA1, []byte("p"), nil))
	}},
	{"GenerateDataKey", Symmetric, EncryptDecrypt, ErrDisabled, ErrInvalidState, func(r *Ring, id string) error {
		return ignore(r.GenerateDataKey(id, 32, nil))
	}},
	{"GenerateDataKeyPair", Symmetric, EncryptDecrypt, ErrDisabled, ErrInvalidState, func(r *Ring, id string) error {
		return ignore(r.GenerateDataKeyPair(id, ECCP256, nil))
	}},
	{"Sign", ECCP256, SignVerify, ErrDisabled, ErrInvalidState, func(r *Ring, id string) error {
		return ignore(r.Sign(id, ECDSASHA256, Raw, []byte("m")))
	}},
	{"GenerateMac", HMAC256, GenerateVerifyMAC, ErrDisabled, ErrInvalidState, func(r *Ring, id string) error {
		return ignore(r.GenerateMAC(id, HMACSHA256, []byte("m")))
	}},
	{"GetPublicKey", ECCP256, KeyAgreement, ErrDisabled, ErrInvalidState, func(r *Ring, id string) error {
		return ignore(r.PublicKey(id))
	}},
	{"DeriveSharedSecret", ECCP256, KeyAgreement, ErrDisabled, ErrInvalidState, func(r *Ring, id string) error {
		peer, err := r.newPrivateKey(ECCP256)
		var m material
		return errors.Join(err, m.hold(peer), ignore(r.DeriveSharedSecret(id, ECDH, m.public)))
	}},
	{"EnableKeyRotation", Symmetric, EncryptDecrypt, ErrDisabled, ErrInvalidState, func(r *Ring, id string) error {
		return r.SetRotation(id, true, 0)
	}},
	{"DisableKeyRotation", Symmetric, EncryptDecrypt, ErrDisabled, ErrInvalidState, func(r *Ring, id string) error {
		return r.SetRotation(id, false, 0)
	}},
	{"RotateKeyOnDemand", Symmetric, EncryptDecrypt, ErrDisabled, ErrInvalidState, func(r *Ring, id string) error {
		return ignore(r.Rotate(id))
	}},
	{"EnableKey", Symmetric, EncryptDecrypt, nil, ErrInvalidState, func(r *Ring, id string) error {
		return r.SetEnabled(id, true)
	}},
	{"DisableKey", Symmetric, EncryptDecrypt, nil, ErrInvalidState, func(r *Ring, id string) error {
		return r.SetEnabled(id, false)
	}},
	{"ScheduleKeyDeletion", Symmetric, EncryptDecrypt, nil, ErrInvalidState, func(r *Ring, id string) error {
		return ignore(r.ScheduleDeletion(id, 7))
	}},
	{"TagResource", Symmetric, EncryptDecrypt, nil, ErrInvalidState, func(r *Ring, id string) error {
		return r.Tag(id, map[string]string{"a": "b"})
	}},
	{"UntagResource", Symmetric, EncryptDecrypt, nil, ErrInvalidState, func(r *Ring, id string) error {
		return r.Untag(id, []string{"a"})
	}},
	{"UpdateKeyDescription", Symmetric, EncryptDecrypt, nil, ErrInvalidState, func(r *Ring, id string) error {
		return r.SetDescription(id, "d")
	}},
	{"CreateAlias", Symmetric, EncryptDecrypt, nil, ErrInvalidState, func(r *Ring, id string) error {
		return r.CreateAlias("alias/new", id)
	}},
	{"PutKeyPolicy", Symmetric, EncryptDecrypt, nil, nil, func(r *Ring, id string) error {
		return r.SetPolicy(id, "{}")
	}},
	{"DescribeKey", Symmetric, EncryptDecrypt, nil, nil, func(r *Ring, id string) error {
		return ignore(r.Get(id))
	}},
}

func TestOperationsByState(t *testing.T) {
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			r, _ := newTestRing(t)
			wantErr(t, op.do(r, create(t, r, op.spec, op.usage).ID), nil)

			k := create(t, r, op.spec, op.usage)
			must(t, r.SetEnabled(k.ID, false))
			if op.name == "CreateAlias" {
				must(t, r.DeleteAlias("alias/new"))
			}
			wantErr(t, op.do(r, k.ID), op.disabled)

			k = create(t, r, op.spec, op.usage)
			got(r.ScheduleDeletion(k.ID, 7))(t)
			if op.name == "CreateAlias" {
				must(t, r.DeleteAlias("alias/new"))
			}
			before := got(r.Get(k.ID))(t)
			wantErr(t, op.do(r, k.ID), op.pending)
			if op.pending != nil {
				if diff := cmp.Diff(before, got(r.Get(k.ID))(t)); diff != "" {
					t.Errorf("refused, but the key changed: %s", diff)
				}
			}
			wantErr(t, op.do(r, noSuchKey), ErrNotFound)
		})
	}
}

// Each operation refuses the keys that are for something else.
func TestOperationsByUsage(t *testing.T) {
	r, _ := newTestRing(t)
	for _, s := range specs {
		k := create(t, r, s.spec, s.usage)
		symmetric := s.spec == Symmetric
		for _, test := range []struct {
			name string
			fits bool
			err  error
			want error
		}{
			{"Encrypt", s.usage == EncryptDecrypt && symmetric, ignore(r.Encrypt(k.ID, "", []byte("p"), nil)), ErrInvalidUsage},
			{"Encrypt OAEP", s.usage == EncryptDecrypt && !symmetric, ignore(r.Encrypt(k.ID, OAEPSHA256, []byte("p"), nil)), ErrInvalidUsage},
			{"GenerateDataKey", symmetric, ignore(r.GenerateDataKey(k.ID, 16, nil)), ErrInvalidUsage},
			{"Sign RSA", s.usage == SignVerify && s.spec == RSA2048, ignore(r.Sign(k.ID, PSSSHA256, Raw, []byte("m"))), ErrInvalidUsage},
			{"Sign ECDSA", s.usage == SignVerify && s.spec == ECCP384, ignore(r.Sign(k.ID, ECDSASHA384, Raw, []byte("m"))), ErrInvalidUsage},
			{"GenerateMac", s.spec == HMAC384, ignore(r.GenerateMAC(k.ID, HMACSHA384, []byte("m"))), ErrInvalidUsage},
			{"GetPublicKey", !symmetric && s.usage != GenerateVerifyMAC, ignore(r.PublicKey(k.ID)), ErrUnsupported},
			{"Rotate", symmetric, ignore(r.Rotate(k.ID)), ErrUnsupported},
			{"SetRotation", symmetric, r.SetRotation(k.ID, true, 0), ErrUnsupported},
		} {
			if test.fits {
				test.want = nil
			}
			if !errors.Is(test.err, test.want) {
				t.Errorf("%s with %s %s: error %v, want %v", test.name, s.spec, s.usage, test.err, test.want)
			}
		}
	}
}

func TestDeletion(t *testing.T) {
	r, clock := newTestRing(t)
	k, stays := create(t, r, Symmetric, ""), create(t, r, Symmetric, "")
	must(t, r.CreateAlias("alias/a", k.ID))
	data := got(r.GenerateDataKey(k.ID, 32, nil))(t)

	pending := got(r.ScheduleDeletion(k.ID, 0))(t)
	end := t0.Truncate(time.Millisecond).Add(30 * 24 * time.Hour)
	if pending.State != PendingDeletion || !pending.DeletionDate.Equal(end) {
		t.Fatalf("state %s, deletion date %v, want %v", pending.State, pending.DeletionDate, end)
	}
	clock.Add(end.Sub(t0) - time.Millisecond)
	got(r.Get("alias/a"))(t)

	clock.Add(time.Millisecond)
	for name, err := range map[string]error{
		"key":        ignore(r.Get(k.ID)),
		"alias":      ignore(r.Get("alias/a")),
		"ciphertext": ignore(r.CiphertextKey(data.Blob)),
		"decrypt":    ignore(r.Decrypt(k.ID, "", data.Blob, nil)),
		"cancel":     ignore(r.CancelDeletion(k.ID)),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s of a deleted key: %v", name, err)
		}
	}
	if p := got2(r.List(0, "")); len(p.page) != 1 || p.page[0].ID != stays.ID {
		t.Errorf("keys left: %v", p.page)
	}
	if len(r.alias)+len(r.names)+len(r.byKey) != 0 {
		t.Errorf("aliases left: %v", r.names)
	}
	// The clock going back does not bring it back.
	clock.Add(-24 * time.Hour)
	wantErr(t, ignore(r.Get(k.ID)), ErrNotFound)
}

func TestCancelDeletion(t *testing.T) {
	r, clock := newTestRing(t)
	k := create(t, r, Symmetric, "")
	got(r.ScheduleDeletion(k.ID, 7))(t)
	back := got(r.CancelDeletion(k.ID))(t)
	if back.State != Disabled || !back.DeletionDate.IsZero() {
		t.Errorf("state %s, deletion date %v", back.State, back.DeletionDate)
	}
	clock.Add(100 * 24 * time.Hour)
	must(t, r.SetEnabled(k.ID, true))
	got(r.GenerateDataKey(k.ID, 32, nil))(t)
	wantErr(t, ignore(r.CancelDeletion(k.ID)), ErrInvalidState)
	for _, days := range []int{-1, 6, 31} {
		wantErr(t, ignore(r.ScheduleDeletion(k.ID, days)), ErrValidation)
	}
}

func TestTags(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, Symmetric, "")
	must(t, r.Tag(k.ID, map[string]string{"a": "1", "b": "2"}))
	old := got(r.Get(k.ID))(t)
	must(t, r.Tag(k.ID, map[string]string{"b": "3", "c": "4"}))
	must(t, r.Untag(k.ID, []string{"a", "none"}))
	if diff := cmp.Diff(map[string]string{"b": "3", "c": "4"}, got(r.Get(k.ID))(t).Tags); diff != "" {
		t.Error(diff)
	}
	// Who holds the older Key sees it as it was.
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "2"}, old.Tags); diff != "" {
		t.Error(diff)
	}
	many := make(map[string]string)
	for i := range MaxTags - 1 {
		many[strings.Repeat("x", i+1)] = ""
	}
	wantErr(t, r.Tag(k.ID, many), ErrLimit) // 49 and the two it has
	must(t, r.Untag(k.ID, []string{"b"}))
	must(t, r.Tag(k.ID, many))
}

func TestDescriptionAndPolicy(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, Symmetric, "")
	must(t, r.SetDescription(k.ID, "new"))
	must(t, r.SetPolicy(k.ID, `{"Version":"2012-10-17"}`))
	wantErr(t, r.SetDescription(k.ID, strings.Repeat("d", MaxDescription+1)), ErrValidation)
	wantErr(t, r.SetPolicy(k.ID, strings.Repeat("p", MaxPolicy+1)), ErrLimit)
	now := got(r.Get(k.ID))(t)
	if now.Description != "new" || now.Policy != `{"Version":"2012-10-17"}` {
		t.Errorf("description %q, policy %q", now.Description, now.Policy)
	}
}
