package iam

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
)

// Kinds of identities: CloudTrail's userIdentity.type.
const (
	TypeRoot        = "Root"
	TypeUser        = "IAMUser"
	TypeAssumedRole = "AssumedRole"
)

// An Identity is who holds an access key. It prints, and goes into JSON, without
// the secrets; but fmt cannot see that of an unexported field in a struct.
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
// ARN of its role; two more keys are there for a session only.
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
	switch i.Type {
	case TypeUser:
		keys["aws:username"] = []string{i.Name}
	case TypeAssumedRole:
		keys["aws:TokenIssueTime"] = []string{i.Created.UTC().Format(time.RFC3339)}
		keys["aws:MultiFactorAuthPresent"] = []string{"false"}
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

// MarshalText is String, for JSON too.
func (i Identity) MarshalText() ([]byte, error) { return []byte(i.String()), nil }
