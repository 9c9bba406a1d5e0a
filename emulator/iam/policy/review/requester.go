package review

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
)

// A Requester is someone who asks for a key.
type Requester struct {
	Name      string
	Principal policy.Principal

	// Identity are the identity policies. Nil means that they are not known and
	// allow everything, as far as one knows.
	Identity []*policy.Policy
}

// everything is the identity policy of someone of whom nothing is known.
var everything = must(policy.Parse([]byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)))

func must(p *policy.Policy, err error) *policy.Policy {
	if err != nil {
		panic(err)
	}
	return p
}

// uniqueID is the form of an id that IAM gives to a user or a role (IAM user
// guide, "IAM identifiers"). Whose it is, is not known here.
var uniqueID = regexp.MustCompile(`^A[A-Z0-9]{15,127}$`)

// noAccount is the account of someone from outside. It is no account of AWS.
const noAccount = "000000000000"

// NewRequester makes the requester that a principal of a policy stands for: a
// session of a role, a user, an account's root user, any identity of an account
// (by its 12 digits), whoever has a unique id, or anyone ("*"). It is false for text
// that is none of them.
func NewRequester(principal string, identity []*policy.Policy) (Requester, bool) {
	account := policy.AccountOf(principal)
	r := Requester{Identity: identity, Principal: policy.Principal{Account: account, ARN: principal}}
	kind, name, _ := strings.Cut(afterAccount(principal), "/")
	switch {
	case principal == "*":
		r.Name = "anyone"
		r.Principal = policy.Principal{Account: noAccount, ARN: "arn:aws:iam::" + noAccount + ":user/anyone"}
	case len(principal) == 12 && strings.Trim(principal, "0123456789") == "":
		r.Name = "any identity of account " + principal
		r.Principal = policy.Principal{Account: principal, ARN: "arn:aws:iam::" + principal + ":user/any"}
	case account == "" && uniqueID.MatchString(principal):
		r.Name = "whoever has the unique id " + principal
	case account == "":
		return Requester{}, false
	case kind == "role":
		r.Name = "role " + name
		r.Principal.Role = principal
		r.Principal.ARN = fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/i-00000000000000000", account, name[strings.LastIndexByte(name, '/')+1:])
	case kind == "assumed-role":
		role, _, _ := strings.Cut(name, "/")
		r.Name = "session " + name
		r.Principal.Role = "arn:aws:iam::" + account + ":role/" + role
	case kind == "user":
		r.Name = "user " + name
	case kind == "root":
		r.Name = "root user of account " + account
	default:
		r.Name = principal
	}
	return r, true
}

// afterAccount is the resource part of an ARN.
func afterAccount(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 {
		return ""
	}
	return parts[5]
}

// named are the requesters whom the Allow statements of a key policy can be for,
// each once, and those whom a Deny spares. For an account it is any identity of
// it: its root user needs no key policy to take the key, it owns it.
func named(p *policy.Policy) []Requester {
	var list []Requester
	seen := map[string]bool{}
	for i := range p.Statements {
		s := &p.Statements[i]
		principals := principalsOf(s)
		if s.Effect == policy.Deny && s.NotPrincipal != nil {
			principals = identities(s.NotPrincipal.AWS)
		}
		for _, principal := range principals {
			if r, ok := NewRequester(principal, nil); ok && !seen[principal] {
				seen[principal] = true
				list = append(list, r)
			}
		}
	}
	return list
}

// identities are the principals of a policy, with the account for its root.
func identities(principals []string) []string {
	var list []string
	for _, text := range principals {
		if afterAccount(text) == "root" {
			text = policy.AccountOf(text)
		}
		list = append(list, text)
	}
	return list
}

// principalsOf are whom an Allow statement is for, as NewRequester takes them.
func principalsOf(s *policy.Statement) []string {
	switch {
	case s.Effect != policy.Allow:
		return nil
	case s.NotPrincipal != nil:
		return []string{"*"}
	case s.Principal == nil:
		return nil
	case s.Principal.Any:
		return []string{"*"}
	}
	return identities(s.Principal.AWS)
}

// keys are the condition keys about the requester.
func (r Requester) keys() map[string][]string {
	arn := r.Principal.ARN
	if r.Principal.Role != "" {
		arn = r.Principal.Role
	}
	return map[string][]string{
		"aws:PrincipalArn":     {arn},
		"aws:PrincipalAccount": {r.Principal.Account},
		"kms:CallerAccount":    {r.Principal.Account},
	}
}

// knows reports whether the value of a condition key about the requester is
// known. Of someone who stands for many only what all of them share is.
func (r Requester) knows(key string) bool {
	one := r.Principal.Account != noAccount && r.Principal.Account != ""
	switch strings.ToLower(key) {
	case "aws:principalaccount", "kms:calleraccount":
		return one
	case "aws:principalarn":
		return one && !strings.HasSuffix(r.Principal.ARN, ":user/any")
	}
	return false
}
