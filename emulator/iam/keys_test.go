package iam

import (
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
)

var (
	secretForm = regexp.MustCompile(`^[A-Za-z0-9+/]{40}$`)
	tokenForm  = regexp.MustCompile(`^[A-Za-z0-9+/]{300,400}={0,2}$`)
)

func TestLookup(t *testing.T) {
	d, c := newDirectory(t)
	user, role := mustARN(t)(d.CreateUser(accountA, "div/alice")), mustARN(t)(d.CreateRole(accountB, "svc/parent"))
	end := c.now.Add(time.Hour)
	tests := []struct {
		name string
		key  Credentials
		form string // of the access key id
		id   string // form of the unique id
		want Identity
		keys map[string][]string // without aws:userid
	}{
		{
			"root", mustKey(t)(d.CreateAccessKey(RootARN(accountB))), `^AKIA[A-Z2-7]{16}$`, "^" + accountB + "$",
			Identity{Principal: policy.Principal{Account: accountB, ARN: "arn:aws:iam::444455556666:root"}, Type: TypeRoot},
			map[string][]string{
				"aws:PrincipalAccount": {accountB}, "aws:PrincipalType": {"Account"}, "aws:PrincipalArn": {"arn:aws:iam::444455556666:root"},
			},
		},
		{
			"user", mustKey(t)(d.CreateAccessKey(user)), `^AKIA[A-Z2-7]{16}$`, `^AIDA[A-Z2-7]{16}$`,
			Identity{Principal: policy.Principal{Account: accountA, ARN: user}, Type: TypeUser, Name: "alice"},
			map[string][]string{
				"aws:PrincipalAccount": {accountA}, "aws:PrincipalType": {"User"}, "aws:username": {"alice"},
				"aws:PrincipalArn": {"arn:aws:iam::111122223333:user/div/alice"},
			},
		},
		{
			"session", mustKey(t)(d.AssumeRole(role, "i-0a1b", time.Hour)), `^ASIA[A-Z2-7]{16}$`, `^AROA[A-Z2-7]{16}:i-0a1b$`,
			Identity{
				Principal: policy.Principal{Account: accountB, ARN: "arn:aws:sts::444455556666:assumed-role/parent/i-0a1b", Role: role},
				Type:      TypeAssumedRole, Name: "parent", Session: "i-0a1b", Expires: end,
			},
			map[string][]string{
				"aws:PrincipalAccount": {accountB}, "aws:PrincipalType": {"AssumedRole"},
				"aws:PrincipalArn":   {"arn:aws:iam::444455556666:role/svc/parent"},
				"aws:TokenIssueTime": {"2026-03-01T12:00:00Z"}, "aws:MultiFactorAuthPresent": {"false"},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := d.Lookup(tt.key.AccessKeyID)
			if !ok {
				t.Fatal("not found")
			}
			if !regexp.MustCompile(tt.form).MatchString(tt.key.AccessKeyID) || !secretForm.MatchString(tt.key.SecretAccessKey) {
				t.Errorf("credentials are of no form: %v", tt.key)
			}
			if !regexp.MustCompile(tt.id).MatchString(got.ID) {
				t.Errorf("unique id %q is not of the form %s", got.ID, tt.id)
			}
			session := tt.want.Type == TypeAssumedRole
			if session != tokenForm.MatchString(tt.key.SessionToken) || !session && tt.key.SessionToken != "" {
				t.Error("session token is of no form")
			}
			if !tt.key.Expires.Equal(tt.want.Expires) {
				t.Errorf("credentials end at %v", tt.key.Expires)
			}
			want := tt.want
			want.ID, want.Created = got.ID, c.now
			want.AccessKeyID, want.Secret, want.Token = tt.key.AccessKeyID, tt.key.SecretAccessKey, tt.key.SessionToken
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			tt.keys["aws:userid"] = []string{got.ID}
			if diff := cmp.Diff(tt.keys, got.Keys()); diff != "" {
				t.Errorf("keys (-want +got)\n%s", diff)
			}
		})
	}
	id := tests[0].key.AccessKeyID
	for _, unknown := range []string{"", "AKIA", strings.ToLower(id), id + " ", id[:19], RootARN(accountA), strings.Repeat("A", 1<<16)} {
		if who, ok := d.Lookup(unknown); ok || who.Secret != "" {
			t.Errorf("%.40q is %v", unknown, who)
		}
	}
}

// A token tells where it is from, and no two are the same.
func TestToken(t *testing.T) {
	d, _ := newDirectory(t)
	role := mustARN(t)(d.CreateRole(accountA, "r"))
	seen := map[string]bool{}
	for range 20 {
		c := mustKey(t)(d.AssumeRole(role, "s1", time.Hour))
		b, err := base64.StdEncoding.DecodeString(c.SessionToken)
		if err != nil || !strings.HasPrefix(string(b), "nitrolab emulated") {
			t.Errorf("token begins with %.20q: %v", b, err)
		}
		if seen[c.SessionToken] || seen[c.SecretAccessKey] || seen[c.AccessKeyID] {
			t.Error("credentials were given twice")
		}
		seen[c.SessionToken], seen[c.SecretAccessKey], seen[c.AccessKeyID] = true, true, true
	}
}

func TestCreateAccessKey(t *testing.T) {
	d, _ := newDirectory(t)
	user, role := mustARN(t)(d.CreateUser(accountA, "u")), mustARN(t)(d.CreateRole(accountA, "r"))
	for _, arn := range []string{role, "arn:aws:iam::" + accountA + ":user/v", "", accountA, RootARN("777788889999")} {
		if _, err := d.CreateAccessKey(arn); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", arn, err)
		}
	}
	first := mustKey(t)(d.CreateAccessKey(user))
	mustKey(t)(d.CreateAccessKey(user))
	if _, err := d.CreateAccessKey(user); !errors.Is(err, ErrLimit) {
		t.Errorf("a third key: %v", err)
	}
	mustKey(t)(d.CreateAccessKey(RootARN(accountA)))
	if err := d.DeleteAccessKey(first.AccessKeyID); err != nil {
		t.Fatal(err)
	}
	if _, ok := d.Lookup(first.AccessKeyID); ok {
		t.Error("a deleted key is found")
	}
	if err := d.DeleteAccessKey(first.AccessKeyID); !errors.Is(err, ErrNotFound) {
		t.Errorf("again: %v", err)
	}
	mustKey(t)(d.CreateAccessKey(user))
}

func TestAssumeRole(t *testing.T) {
	d, _ := newDirectory(t)
	user, role := mustARN(t)(d.CreateUser(accountA, "x")), mustARN(t)(d.CreateRole(accountA, "x"))
	tests := []struct {
		name, role, session string
		duration            time.Duration
		want                error
	}{
		{"shortest", role, "s1", MinSession, nil},
		{"longest", role, strings.Repeat("s", 64), MaxSession, nil},
		{"all characters", role, "Az09_+=,.@-", time.Hour, nil},
		{"too short", role, "s1", MinSession - 1, ErrInvalid},
		{"too long", role, "s1", MaxSession + 1, ErrInvalid},
		{"no duration", role, "s1", 0, ErrInvalid},
		{"negative duration", role, "s1", -time.Hour, ErrInvalid},
		{"no name", role, "", time.Hour, ErrInvalid},
		{"name of one", role, "s", time.Hour, ErrInvalid},
		{"name of 65", role, strings.Repeat("s", 65), time.Hour, ErrInvalid},
		{"name with a slash", role, "a/b", time.Hour, ErrInvalid},
		{"name with a colon", role, "a:b", time.Hour, ErrInvalid},
		{"name with a line end", role, "ab\n", time.Hour, ErrInvalid},
		{"huge name", role, strings.Repeat("s", 1<<20), time.Hour, ErrInvalid},
		{"a user", user, "s1", time.Hour, ErrNotFound},
		{"root", RootARN(accountA), "s1", time.Hour, ErrNotFound},
		{"unknown", role + "y", "s1", time.Hour, ErrNotFound},
		{"in another case", strings.ToUpper(role), "s1", time.Hour, ErrNotFound},
		{"none", "", "s1", time.Hour, ErrNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := d.AssumeRole(tt.role, tt.session, tt.duration)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if _, ok := d.Lookup(got.AccessKeyID); ok != (tt.want == nil) {
				t.Errorf("found: %v", ok)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestExpired(t *testing.T) {
	d, c := newDirectory(t)
	start := c.now
	role := mustARN(t)(d.CreateRole(accountA, "r"))
	session, key := mustKey(t)(d.AssumeRole(role, "s1", time.Hour)), mustKey(t)(d.CreateAccessKey(RootARN(accountA)))
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{{0, false}, {time.Hour - 1, false}, {time.Hour, true}, {100 * time.Hour, true}} {
		who, ok := d.Lookup(session.AccessKeyID)
		if !ok || who.Expired(start.Add(tt.after)) != tt.want {
			t.Errorf("session after %v: expired is %v", tt.after, !tt.want)
		}
		if who, _ := d.Lookup(key.AccessKeyID); who.Expired(start.Add(tt.after)) {
			t.Errorf("key after %v: expired", tt.after)
		}
	}
}
