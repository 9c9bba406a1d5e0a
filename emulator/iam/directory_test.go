package iam

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	accountA = "111122223333"
	accountB = "444455556666"
)

// A clock stands still.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// newDirectory has both accounts, and the same entropy each time.
func newDirectory(t testing.TB) (*Directory, *clock) {
	t.Helper()
	c := &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	d := NewDirectory(accountA, c.Now, rand.NewChaCha8([32]byte{1}))
	if err := d.AddAccount(accountB); err != nil {
		t.Fatal(err)
	}
	return d, c
}

func parsePolicy(t testing.TB, statement string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(`{"Version":"2012-10-17","Statement":` + statement + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustARN(t testing.TB) func(string, error) string {
	return func(arn string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return arn
	}
}

func mustKey(t testing.TB) func(Credentials, error) Credentials {
	return func(c Credentials, err error) Credentials {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func TestNewDirectory(t *testing.T) {
	d := NewDirectory(accountA, nil, nil)
	if d.Account() != accountA || !d.Exists(RootARN(accountA)) {
		t.Errorf("account is %q", d.Account())
	}
	// Without a clock it is that of the machine, and secrets are random.
	before := time.Now()
	first := mustKey(t)(d.CreateAccessKey(RootARN(accountA)))
	second := mustKey(t)(d.CreateAccessKey(RootARN(accountA)))
	if first.SecretAccessKey == second.SecretAccessKey || first.AccessKeyID == second.AccessKeyID {
		t.Error("two keys are the same")
	}
	if who, _ := d.Lookup(first.AccessKeyID); who.Created.Before(before) || who.Created.After(time.Now()) {
		t.Errorf("created at %v", who.Created)
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic with an account of another form")
		}
	}()
	NewDirectory("11112222333x", nil, nil)
}

func TestAddAccount(t *testing.T) {
	d, _ := newDirectory(t)
	key := mustKey(t)(d.CreateAccessKey(RootARN(accountB)))
	if err := d.AddAccount(accountB); err != nil {
		t.Error(err)
	}
	if _, ok := d.Lookup(key.AccessKeyID); !ok {
		t.Error("an account that was there has lost its key")
	}
	for _, account := range []string{"", "11112222333", "1111222233334", "11112222333a", "１１１１２２２２３３３３", "111122223333\n"} {
		if err := d.AddAccount(account); !errors.Is(err, ErrInvalid) {
			t.Errorf("account %q: %v", account, err)
		}
	}
}

func TestCreate(t *testing.T) {
	allow := `{"Effect":"Allow","Action":"kms:*","Resource":"*"}`
	tests := []struct {
		name, account, entity string
		policies              []*policy.Policy
		want                  string // of the ARN, behind user/ or role/
		err                   error
	}{
		{name: "a name", account: accountA, entity: "alice", want: "alice"},
		{name: "all characters", account: accountA, entity: "Az09_+=,.@-", want: "Az09_+=,.@-"},
		{name: "longest", account: accountA, entity: strings.Repeat("x", 64), want: strings.Repeat("x", 64)},
		{name: "path", account: accountB, entity: "a/b/c/d/alice", want: "a/b/c/d/alice"},
		{name: "policies", account: accountA, entity: "p", policies: []*policy.Policy{parsePolicy(t, allow)}, want: "p"},
		{name: "same name in the other account", account: accountB, entity: "there", want: "there"},
		{name: "exists", account: accountA, entity: "there", err: ErrExists},
		{name: "exists in another case", account: accountA, entity: "THERE", err: ErrExists},
		{name: "exists under another path", account: accountA, entity: "a/there", err: ErrExists},
		{name: "unknown account", account: "777788889999", entity: "alice", err: ErrNotFound},
		{name: "no account", account: "", entity: "alice", err: ErrNotFound},
		{name: "no name", account: accountA, entity: "", err: ErrInvalid},
		{name: "too long", account: accountA, entity: strings.Repeat("x", 65), err: ErrInvalid},
		{name: "path too long", account: accountA, entity: "a/b/c/d/e/alice", err: ErrInvalid},
		{name: "slash before", account: accountA, entity: "/alice", err: ErrInvalid},
		{name: "slash after", account: accountA, entity: "alice/", err: ErrInvalid},
		{name: "colon", account: accountA, entity: "a:b", err: ErrInvalid},
		{name: "wildcard", account: accountA, entity: "a*", err: ErrInvalid},
		{name: "variable", account: accountA, entity: "${aws:username}", err: ErrInvalid},
		{name: "line end", account: accountA, entity: "alice\n", err: ErrInvalid},
		{name: "not ASCII", account: accountA, entity: "älice", err: ErrInvalid},
		{name: "nil policy", account: accountA, entity: "q", policies: []*policy.Policy{nil}, err: ErrInvalid},
		{name: "key policy", account: accountA, entity: "q",
			policies: []*policy.Policy{parsePolicy(t, `{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}`)}, err: ErrInvalid},
	}
	kinds := map[string]func(*Directory, string, string, ...*policy.Policy) (string, error){
		"user": (*Directory).CreateUser, "role": (*Directory).CreateRole,
	}
	for kind, create := range kinds {
		for _, tt := range tests {
			t.Run(kind+"/"+tt.name, func(t *testing.T) {
				d, _ := newDirectory(t)
				mustARN(t)(create(d, accountA, "there"))
				before := d.Principals()
				got, err := create(d, tt.account, tt.entity, tt.policies...)
				if !errors.Is(err, tt.err) {
					t.Fatalf("got %v, want %v", err, tt.err)
				}
				if tt.err != nil {
					if len(err.Error()) > 1000 {
						t.Errorf("the error has %d bytes", len(err.Error()))
					}
					if diff := cmp.Diff(before, d.Principals()); diff != "" || got != "" {
						t.Errorf("%q was made\n%s", got, diff)
					}
					return
				}
				if want := "arn:aws:iam::" + tt.account + ":" + kind + "/" + tt.want; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				if !d.Exists(got) {
					t.Error("it does not exist")
				}
			})
		}
	}
}

// A user and a role may have the same name.
func TestCreateBoth(t *testing.T) {
	d, _ := newDirectory(t)
	user, role := mustARN(t)(d.CreateUser(accountA, "x")), mustARN(t)(d.CreateRole(accountA, "x"))
	if diff := cmp.Diff([]string{role, user}, d.Principals()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestLimits(t *testing.T) {
	d, _ := newDirectory(t)
	for i := range MaxEntities - 2 { // and two root users
		mustARN(t)(d.CreateUser(accountA, fmt.Sprint("u", i)))
	}
	if _, err := d.CreateUser(accountA, "more"); !errors.Is(err, ErrLimit) {
		t.Errorf("user: %v", err)
	}
	if _, err := d.CreateRole(accountA, "more"); !errors.Is(err, ErrLimit) {
		t.Errorf("role: %v", err)
	}
	if err := d.AddAccount("777788889999"); !errors.Is(err, ErrLimit) || d.Exists("777788889999") {
		t.Errorf("account: %v", err)
	}
	if err := d.AddAccount(accountB); err != nil {
		t.Errorf("account that is there: %v", err)
	}
	if err := d.Delete("arn:aws:iam::" + accountA + ":user/u0"); err != nil {
		t.Fatal(err)
	}
	mustARN(t)(d.CreateRole(accountA, "more"))
}

func TestSetPolicies(t *testing.T) {
	d, _ := newDirectory(t)
	first := parsePolicy(t, `{"Sid":"first","Effect":"Allow","Action":"kms:Decrypt","Resource":"*"}`)
	second := parsePolicy(t, `{"Sid":"second","Effect":"Deny","Action":"kms:*","Resource":"*"}`)
	given := []*policy.Policy{first}
	role := mustARN(t)(d.CreateRole(accountA, "r", given...))
	session := mustKey(t)(d.AssumeRole(role, "s1", time.Hour))
	given[0] = second // the caller's list is the caller's
	old, _ := d.Lookup(session.AccessKeyID)
	if len(old.Policies) != 1 || old.Policies[0] != first {
		t.Fatalf("policies are %v", old.Policies)
	}
	if err := d.SetPolicies(role, second, first); err != nil {
		t.Fatal(err)
	}
	if now, _ := d.Lookup(session.AccessKeyID); len(now.Policies) != 2 || now.Policies[0] != second {
		t.Errorf("policies of a session that is alive are %v", now.Policies)
	}
	if len(old.Policies) != 1 || old.Policies[0] != first {
		t.Error("an identity that was looked up before has changed")
	}
	if err := d.SetPolicies(role, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("nil: %v", err)
	}
	for _, arn := range []string{RootARN(accountA), "arn:aws:iam::" + accountA + ":user/nobody", "", accountA} {
		if err := d.SetPolicies(arn, first); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", arn, err)
		}
	}
}

func TestDelete(t *testing.T) {
	d, _ := newDirectory(t)
	user, role := mustARN(t)(d.CreateUser(accountA, "a/x")), mustARN(t)(d.CreateRole(accountA, "x"))
	key, session := mustKey(t)(d.CreateAccessKey(user)), mustKey(t)(d.AssumeRole(role, "s1", time.Hour))
	other := mustKey(t)(d.CreateAccessKey(RootARN(accountA)))
	id, _ := d.Lookup(session.AccessKeyID)
	for arn, gone := range map[string]Credentials{user: key, role: session} {
		if err := d.Delete(arn); err != nil {
			t.Fatal(err)
		}
		if _, ok := d.Lookup(gone.AccessKeyID); ok || d.Exists(arn) {
			t.Errorf("%s is still there", arn)
		}
		if err := d.Delete(arn); !errors.Is(err, ErrNotFound) {
			t.Errorf("again: %v", err)
		}
	}
	if err := d.Delete(RootARN(accountA)); !errors.Is(err, ErrNotFound) {
		t.Errorf("root: %v", err)
	}
	if _, ok := d.Lookup(other.AccessKeyID); !ok {
		t.Error("the key of another is gone")
	}
	if _, err := d.AssumeRole(role, "s1", time.Hour); !errors.Is(err, ErrNotFound) {
		t.Errorf("AssumeRole: %v", err)
	}
	// The name is free, and who has it now is somebody else.
	mustARN(t)(d.CreateUser(accountA, "x"))
	mustARN(t)(d.CreateRole(accountA, "X"))
	again := mustKey(t)(d.AssumeRole("arn:aws:iam::"+accountA+":role/X", "s1", time.Hour))
	if who, _ := d.Lookup(again.AccessKeyID); who.ID == id.ID {
		t.Errorf("the id of a deleted role is used again: %s", who.ID)
	}
}

func TestExists(t *testing.T) {
	d, _ := newDirectory(t)
	mustARN(t)(d.CreateUser(accountA, "div/alice"))
	mustARN(t)(d.CreateRole(accountA, "div/parent"))
	mustARN(t)(d.CreateUser(accountB, "bob"))
	sts := "arn:aws:sts::" + accountA + ":"
	for principal, want := range map[string]bool{
		"*":                 true,
		accountA:            true,
		accountB:            true,
		"777788889999":      false,
		"":                  false,
		"**":                false,
		RootARN(accountA):   true,
		RootARN("77778888"): false,
		"arn:aws:iam::" + accountA + ":user/div/alice":          true,
		"arn:aws:iam::" + accountA + ":user/alice":              false,
		"arn:aws:iam::" + accountA + ":user/div/Alice":          false,
		"arn:aws:iam::" + accountA + ":role/div/alice":          false,
		"arn:aws:iam::" + accountA + ":role/div/parent":         true,
		"arn:aws:iam::" + accountB + ":role/div/parent":         false,
		"arn:aws:iam::" + accountB + ":user/bob":                true,
		sts + "assumed-role/parent/i-0":                         true,
		sts + "assumed-role/Parent/i-0":                         false,
		sts + "assumed-role/div/parent/i-0":                     false,
		sts + "assumed-role/parent/i-0/x":                       false,
		sts + "assumed-role/parent":                             false,
		sts + "assumed-role/parent/":                            false,
		sts + "assumed-role/parent/*":                           false,
		sts + "assumed-role/alice/i-0":                          false,
		sts + "federated-user/alice":                            false,
		"arn:aws:sts::" + accountB + ":assumed-role/parent/i-0": false,
		"arn:aws:sts:::assumed-role/parent/i-0":                 false,
		"AIDAABCDEFGHIJKLMNOP":                                  false,
	} {
		if got := d.Exists(principal); got != want {
			t.Errorf("%q: %v, want %v", principal, got, want)
		}
	}
}
