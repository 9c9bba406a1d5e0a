package keys

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAliasLife(t *testing.T) {
	r, clock := newTestRing(t)
	a, b := create(t, r, Symmetric, ""), create(t, r, Symmetric, "")
	must(t, r.CreateAlias("alias/one", a.ID))
	must(t, r.CreateAlias("alias/two", a.ID))
	wantErr(t, r.CreateAlias("alias/one", b.ID), ErrAlreadyExists)

	clock.Add(time.Hour)
	must(t, r.UpdateAlias("alias/one", b.ID))
	created := t0.Truncate(time.Millisecond)
	want := Alias{
		Name: "alias/one", ARN: "arn:aws:kms:us-east-1:111122223333:alias/one",
		KeyID: b.ID, Created: created, Updated: created.Add(time.Hour),
	}
	if diff := cmp.Diff(want, got(r.Alias("alias/one"))(t)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"alias/two"}, r.Aliases(a.ID)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"alias/one"}, r.Aliases(b.ID)); diff != "" {
		t.Error(diff)
	}

	must(t, r.DeleteAlias("alias/one"))
	wantErr(t, r.DeleteAlias("alias/one"), ErrNotFound)
	wantErr(t, r.UpdateAlias("alias/one", b.ID), ErrNotFound)
	_, err := r.Alias("alias/one")
	wantErr(t, err, ErrNotFound)
	if left := r.Aliases(b.ID); len(left) != 0 {
		t.Errorf("aliases left: %v", left)
	}
}

func TestAliasNames(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, Symmetric, "")
	for name, want := range map[string]error{
		"alias/a":       nil,
		"alias/A-b_c/0": nil,
		"alias/" + strings.Repeat("x", MaxAliasName-6): nil,
		"alias/" + strings.Repeat("x", MaxAliasName-5): ErrInvalidAliasName,
		"alias/":              ErrInvalidAliasName,
		"a":                   ErrInvalidAliasName,
		"":                    ErrInvalidAliasName,
		"ALIAS/a":             ErrInvalidAliasName,
		"alias/aws/ebs":       ErrInvalidAliasName,
		"alias/a b":           ErrInvalidAliasName,
		"alias/a:b":           ErrInvalidAliasName,
		"alias/a\n":           ErrInvalidAliasName,
		"alias/\xff":          ErrInvalidAliasName,
		r.AliasARN("alias/q"): ErrInvalidAliasName,
	} {
		wantErr(t, r.CreateAlias(name, k.ID), want)
	}
}

func TestUpdateAliasKeepsTheKind(t *testing.T) {
	r, _ := newTestRing(t)
	symmetric, hmac := create(t, r, Symmetric, ""), create(t, r, HMAC256, GenerateVerifyMAC)
	p256, p384 := create(t, r, ECCP256, SignVerify), create(t, r, ECCP384, SignVerify)
	agree := create(t, r, ECCP256, KeyAgreement)
	rsa := create(t, r, RSA2048, EncryptDecrypt)
	must(t, r.CreateAlias("alias/s", symmetric.ID))
	must(t, r.CreateAlias("alias/e", p256.ID))
	for _, test := range []struct {
		alias string
		to    *Key
		want  error
	}{
		{"alias/s", rsa, ErrValidation}, // same usage, another kind
		{"alias/s", hmac, ErrValidation},
		{"alias/e", agree, ErrValidation}, // same kind, another usage
		{"alias/e", p384, nil},
		{"alias/e", p384, nil}, // and again
	} {
		wantErr(t, r.UpdateAlias(test.alias, test.to.ID), test.want)
	}
	wantErr(t, r.UpdateAlias("alias/s", noSuchKey), ErrNotFound)
}

func TestQuotaOfAliases(t *testing.T) {
	r, _ := newTestRing(t)
	full, other := create(t, r, Symmetric, ""), create(t, r, Symmetric, "")
	for i := range MaxAliases {
		must(t, r.CreateAlias(fmt.Sprint("alias/", i), full.ID))
	}
	wantErr(t, r.CreateAlias("alias/more", full.ID), ErrLimit)
	must(t, r.CreateAlias("alias/more", other.ID))
	wantErr(t, r.UpdateAlias("alias/more", full.ID), ErrLimit)
	must(t, r.UpdateAlias("alias/0", full.ID)) // it has that one already
}
