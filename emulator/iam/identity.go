package iam

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
)

// Kinds of identities: CloudTrail's userIdentity.type.
const (
	TypeRoot        = "Root"
	TypeUser        = "IAMUser"
	TypeAssumedRole = "AssumedRole"
)

// An Identity is who holds an access key. It prints without the secrets.
type Identity struct {
	Principal policy.Principal

	Type    string // TypeRoot, TypeUser or TypeAssumedRole
	ID      string // unique id: AIDA…, AROA…:session, or the account of root
	Name    string // of the user or role, without its path; "" for root
	Session string // name of the session of a role, otherwise ""

	AccessKeyID string
	Secret      string
	Token       string    // of a session of a role, otherwise ""
	Created     time.Time // of the access key
	Expires     time.Time // of a session of a role, otherwise zero: never

	// Policies are the identity policies at the time of the look-up; not to be
	// changed.
	Policies []*policy.Policy
}

// Expired reports whether the credentials have ended at a time.
func (i Identity) Expired(at time.Time) bool {
	return !i.Expires.IsZero() && !at.Before(i.Expires)
}

// Keys are the condition keys about the requester, as the IAM user guide has them
// in "AWS global condition context keys". aws:PrincipalArn of a session is the
// ARN of its role.
func (i Identity) Keys() map[string][]string {
	kind := map[string]string{TypeRoot: "Account", TypeUser: "User", TypeAssumedRole: "AssumedRole"}[i.Type]
	arn := i.Principal.ARN
	if i.Principal.Role != "" {
		arn = i.Principal.Role
	}
	keys := map[string][]string{
		"aws:PrincipalAccount": {i.Principal.Account},
		"aws:PrincipalArn":     {arn},
		"aws:PrincipalType":    {kind},
		"aws:userid":           {i.ID},
	}
	if i.Type == TypeUser {
		keys["aws:username"] = []string{i.Name}
	}
	return keys
}

// String is the ARN and the access key id, which are no secrets.
func (i Identity) String() string {
	return i.Principal.ARN + " with " + redacted(i.AccessKeyID, i.Expires)
}

// Format writes String, whatever the verb.
func (i Identity) Format(s fmt.State, _ rune) { fmt.Fprint(s, i.String()) }

// LogValue is String.
func (i Identity) LogValue() slog.Value { return slog.StringValue(i.String()) }

// clone is a list of policies that is nobody else's.
func clone(policies []*policy.Policy) []*policy.Policy { return slices.Clone(policies) }
