package keys

import (
	"strings"
	"testing"
)

func TestGet(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, Symmetric, "")
	must(t, r.CreateAlias("alias/app/weights", k.ID))
	for name, want := range map[string]error{
		k.ID:                nil,
		k.ARN:               nil,
		"alias/app/weights": nil,
		"arn:aws:kms:us-east-1:111122223333:alias/app/weights": nil,

		"":                    ErrNotFound,
		"weights":             ErrNotFound,
		noSuchKey:             ErrNotFound,
		strings.ToUpper(k.ID): ErrNotFound,
		"key/" + k.ID:         ErrNotFound,
		"alias/":              ErrNotFound,
		"alias/other":         ErrNotFound,
		"arn:aws:kms:us-east-1:111122223333:alias/other":           ErrNotFound,
		"arn:aws:kms:us-east-1:111122223333:key/" + noSuchKey:      ErrNotFound,
		"arn:aws:kms:us-west-2:111122223333:key/" + k.ID:           ErrNotFound,
		"arn:aws:kms:us-east-1:444455556666:key/" + k.ID:           ErrNotFound,
		"arn:aws:kms:us-east-1:444455556666:alias/app/weights":     ErrNotFound,
		"arn:aws-cn:kms:us-east-1:111122223333:key/" + k.ID:        ErrNotFound,
		"arn:aws:kms:us-east-1:111122223333:key/alias/app/weights": ErrNotFound,

		"arn:aws:kms:us-east-1:111122223333:" + k.ID:       ErrInvalidARN,
		"arn:aws:kms:us-east-1:111122223333:grant/" + k.ID: ErrInvalidARN,
		"arn:aws:iam::111122223333:role/x":                 ErrInvalidARN,
		"arn:aws:kms":                                      ErrInvalidARN,
		"arn:":                                             ErrInvalidARN,
		strings.Repeat("k", MaxKeyID+1):                    ErrValidation,
	} {
		found, err := r.Get(name)
		wantErr(t, err, want)
		if err != nil && found != nil {
			t.Errorf("%q: found %s and error %v", name, found.ID, err)
		}
		if err == nil && found.ID != k.ID {
			t.Errorf("%q: found %s, want %s", name, found.ID, k.ID)
		}
	}
}

func TestARNs(t *testing.T) {
	r, _ := newTestRing(t)
	if got, want := r.KeyARN(noSuchKey), "arn:aws:kms:us-east-1:111122223333:key/"+noSuchKey; got != want {
		t.Errorf("key ARN %s, want %s", got, want)
	}
	if got, want := r.AliasARN("alias/a"), "arn:aws:kms:us-east-1:111122223333:alias/a"; got != want {
		t.Errorf("alias ARN %s, want %s", got, want)
	}
}

// Errors quote the beginning of what a stranger sent, on one line.
func TestErrorsAreShort(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, ECCP256, SignVerify)
	long := strings.Repeat("x\n", MaxKeyID/2)
	for what, err := range map[string]error{
		"id":           ignore(r.Get(long)),
		"ARN":          ignore(r.Get("arn:aws:kms:us-east-1:1:key/" + long[:1000])),
		"region":       ignore(r.Get("arn:aws:kms:" + long[:1000] + ":1:key/a")),
		"alias":        ignore(r.Get("alias/" + long[:1000])),
		"new alias":    r.CreateAlias("alias/"+long[:200], k.ID),
		"spec":         ignore(r.Create(Description{Spec: Spec(long)})),
		"usage":        ignore(r.Create(Description{Spec: RSA2048, Usage: Usage(long)})),
		"algorithm":    ignore(r.Sign(k.ID, SigningAlgorithm(long), Raw, []byte("m"))),
		"message type": ignore(r.Sign(k.ID, ECDSASHA256, MessageType(long), []byte("m"))),
	} {
		if s := err.Error(); len(s) > 400 || strings.Contains(s, "\n") {
			t.Errorf("%s: error of %d bytes: %q", what, len(s), s)
		}
	}
}

// What is sent as AWS's words is pinned, for clients and people look for it.
func TestWording(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, Symmetric, "")
	must(t, r.CreateAlias("alias/a", k.ID))
	_, noKey := r.Get(noSuchKey)
	_, invalid := r.Get("x\x1b[2Jy")
	_, noAlias := r.Get("alias/b")
	_, elsewhere := r.Get("arn:aws:kms:us-west-2:111122223333:key/" + k.ID)
	exists := r.CreateAlias("alias/a", k.ID)
	must(t, r.SetEnabled(k.ID, false))
	_, disabled := r.GenerateDataKey(k.ID, 32, nil)
	_, notPending := r.CancelDeletion(k.ID)
	got(r.ScheduleDeletion(k.ID, 7))(t)
	_, pending := r.GenerateDataKey(k.ID, 32, nil)
	for _, test := range []struct {
		err  error
		want string
	}{
		{noKey, "NotFoundException: Key 'arn:aws:kms:us-east-1:111122223333:key/" + noSuchKey + "' does not exist"},
		{invalid, "NotFoundException: Invalid keyId 'x?[2Jy'"},
		{noAlias, "NotFoundException: Alias arn:aws:kms:us-east-1:111122223333:alias/b is not found."},
		{elsewhere, "NotFoundException: Invalid arn us-west-2"},
		{exists, "AlreadyExistsException: An alias with the name arn:aws:kms:us-east-1:111122223333:alias/a already exists"},
		{disabled, "DisabledException: " + k.ARN + " is disabled."},
		{notPending, "KMSInvalidStateException: " + k.ARN + " is not pending deletion."},
		{pending, "KMSInvalidStateException: " + k.ARN + " is pending deletion."},
		{invalidCiphertext(), "InvalidCiphertextException"},
	} {
		if test.err == nil || test.err.Error() != test.want {
			t.Errorf("error %q, want %q", test.err, test.want)
		}
	}
}
