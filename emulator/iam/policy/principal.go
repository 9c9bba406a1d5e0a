package policy

import (
	"regexp"
	"strings"
)

// Forms of a principal in a policy (IAM user guide, "AWS JSON policy elements:
// Principal"). A part of a name cannot be a wildcard.
var (
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	uniqueForm  = regexp.MustCompile(`^A[A-Z0-9]{3}[A-Z0-9]{12,124}$`)
	iamForm     = regexp.MustCompile(`^arn:aws[a-z-]{0,16}:iam::[0-9]{12}:(root|(user|role)/[\x21-\x7e]{1,512})$`)
	stsForm     = regexp.MustCompile(`^arn:aws[a-z-]{0,16}:sts::[0-9]{12}:(assumed-role/[\w+=,.@-]{1,64}/[\w+=,.@-]{2,64}|federated-user/[\w+=,.@-]{2,64})$`)
)

// validPrincipal accepts what may stand in the list AWS.
func validPrincipal(text string) bool {
	if text == "*" || accountForm.MatchString(text) || uniqueForm.MatchString(text) {
		return true
	}
	return !strings.ContainsAny(text, "*?") && (iamForm.MatchString(text) || stsForm.MatchString(text))
}

// isRootOf reports whether an ARN is that of an account's root user, which in a
// policy stands for the whole account.
func isRootOf(arn, account string) bool {
	if !strings.HasSuffix(arn, ":root") {
		return false
	}
	parts := strings.SplitN(arn, ":", arnParts)
	return len(parts) == arnParts && parts[0] == "arn" && parts[2] == "iam" && parts[4] == account && parts[5] == "root"
}

// AccountOf is the account in an ARN, "" if text is none or the ARN has none.
func AccountOf(arn string) string {
	parts := strings.SplitN(arn, ":", arnParts)
	if len(parts) != arnParts || parts[0] != "arn" {
		return ""
	}
	return parts[4]
}

// A hit is how a statement is about a requester.
type hit uint8

const (
	missed  hit = iota
	account     // it names the account
	direct      // it names the requester, or everybody
)

// names says how the principals are about p.
func (s *Principals) names(p Principal) hit {
	if s.Any {
		return direct
	}
	found := missed
	for _, text := range s.AWS {
		switch {
		case text == "*", text == p.ARN, p.Role != "" && text == p.Role:
			return direct
		case text == p.Account, isRootOf(text, p.Account):
			found = account
		}
	}
	if found == account && p.IsRoot() {
		return direct
	}
	return found
}

// exempts reports whether NotPrincipal with Deny spares p. It has to name all that
// p is: the account, and the user or the role and its session. Naming the user
// alone denies the account, and the user with it (IAM user guide, "NotPrincipal").
func (s *Principals) exempts(p Principal) bool {
	if s.Any {
		return true
	}
	var accountIs, selfIs, roleIs bool
	for _, text := range s.AWS {
		if text == "*" {
			return true
		}
		accountIs = accountIs || text == p.Account || isRootOf(text, p.Account)
		selfIs = selfIs || text == p.ARN
		roleIs = roleIs || text == p.Role
	}
	return accountIs && (selfIs || p.IsRoot()) && (roleIs || p.Role == "")
}

// about says how the statement is about p. NotPrincipal with Allow is about
// everybody of whom it names nothing.
func (s *Statement) about(p Principal) hit {
	switch {
	case s.Principal != nil:
		return s.Principal.names(p)
	case s.NotPrincipal == nil:
		return missed
	case s.Effect == Deny && s.NotPrincipal.exempts(p):
		return missed
	case s.Effect == Allow && s.NotPrincipal.names(p) != missed:
		return missed
	}
	return direct
}
