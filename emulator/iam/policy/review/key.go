package review

import (
	"regexp"
	"strings"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
)

// KeyOf is the ARN of a key that the policy can be of: one that it names, else a
// made-up one that fits a pattern of its resources, else a made-up one of the
// account it names.
func KeyOf(p *policy.Policy) string {
	account := accountIn(p)
	var fits string
	for i := range p.Statements {
		for _, r := range p.Statements[i].Resource {
			switch key, exact := example(r, account); {
			case exact:
				return key
			case fits == "":
				fits = key
			}
		}
	}
	if fits == "" {
		fits = "arn:aws:kms:us-east-1:" + account + ":" + unknownKey
	}
	return fits
}

// unknownKey is the resource part of a made-up key.
const unknownKey = "key/00000000-0000-0000-0000-000000000000"

// accountIn is the first account that a policy names as a principal.
func accountIn(p *policy.Policy) string {
	for i := range p.Statements {
		for _, principal := range principalsOf(&p.Statements[i]) {
			r, _ := NewRequester(principal, nil)
			if a := r.Principal.Account; a != "" && a != noAccount {
				return a
			}
		}
	}
	return "111122223333"
}

// variable is one in a resource. It can have colons.
var variable = regexp.MustCompile(`\$\{[^}]*\}`)

// example is the ARN of a key that a resource of a policy matches, "" if it is
// about no keys or about all; exact if it is the only one.
func example(resource, account string) (key string, exact bool) {
	resource = variable.ReplaceAllString(resource, "*")
	parts := strings.SplitN(resource, ":", 6)
	if len(parts) < 4 || parts[0] != "arn" || parts[2] != "kms" {
		return "", false
	}
	open := func(text string) bool { return strings.ContainsAny(text, "*?") }
	known := []string{"arn", "aws", "kms", "us-east-1", account, unknownKey}
	for i, part := range parts {
		if !open(part) {
			known[i] = part
		}
	}
	if len(parts) == len(known) && open(parts[5]) {
		name, isKey := strings.CutPrefix(parts[5], "key/")
		if isKey && name != "*" {
			known[5] = "key/" + strings.NewReplacer("*", "0", "?", "0").Replace(name)
		}
	}
	if !strings.HasPrefix(known[5], "key/") {
		return "", false // an alias, of which key policies are not
	}
	return strings.Join(known, ":"), !open(resource) && len(parts) == len(known)
}
