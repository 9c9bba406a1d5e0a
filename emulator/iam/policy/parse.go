package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Parse reads a policy document of at most [MaxSize] bytes: a JSON object with
// Version, Id and Statement; statements with Sid, Effect, Principal or
// NotPrincipal, Action or NotAction, Resource or NotResource, and Condition. One
// string stands for a list of one, and one statement likewise. Members and
// operators that it does not know, and members that stand twice, are refused.
//
// It takes time and memory linear in the size. Every error is a *[SyntaxError].
func Parse(text []byte) (*Policy, error) {
	root, err := readJSON(text)
	if err != nil {
		return nil, err
	}
	p := &Policy{}
	err = root.members("", func(name, at string, v *node) error {
		switch name {
		case "Version":
			p.Version, err = v.oneOf(at, Version2012, Version2008)
			return err
		case "Id":
			p.ID, err = v.string(at)
			return err
		case "Statement":
			return nil // needs the version, which may stand behind it
		}
		return &SyntaxError{at, "unknown member; allowed are Version, Id, Statement"}
	})
	if err != nil {
		return nil, err
	}
	list := root.member("Statement")
	if list == nil {
		return nil, &SyntaxError{"Statement", "missing"}
	}
	statements := list.list()
	if len(statements) == 0 {
		return nil, &SyntaxError{"Statement", "list is empty; a policy has at least one statement"}
	}
	p.Statements = make([]Statement, len(statements))
	for i, n := range statements {
		s := statementParser{
			Statement: Statement{Index: i},
			path:      path("Statement", i),
			variables: p.Version == Version2012,
		}
		if p.Statements[i], err = s.parse(n); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// path is the place of an item in a list.
func path(name string, i int) string { return fmt.Sprintf("%s[%d]", name, i) }

// A statementParser reads one statement.
type statementParser struct {
	Statement
	path      string
	variables bool
}

func (s *statementParser) parse(n *node) (Statement, error) {
	if err := n.members(s.path, s.member); err != nil {
		return Statement{}, err
	}
	for _, pair := range []struct {
		names string
		count int
		least int
	}{
		{"Principal and NotPrincipal", count(s.Principal != nil, s.NotPrincipal != nil), 0},
		{"Action and NotAction", count(s.Action != nil, s.NotAction != nil), 1},
		{"Resource and NotResource", count(s.Resource != nil, s.NotResource != nil), 1},
	} {
		if pair.count > 1 {
			return Statement{}, s.errorf("", "both of %s are there; allowed is one", pair.names)
		}
		if pair.count < pair.least {
			return Statement{}, s.errorf("", "neither of %s is there; one is needed", pair.names)
		}
	}
	if s.Effect == None {
		return Statement{}, s.errorf("Effect", "missing; allowed are Allow and Deny")
	}
	return s.Statement, nil
}

func count(set ...bool) (n int) {
	for _, b := range set {
		if b {
			n++
		}
	}
	return n
}

// errorf is an error at a member of the statement, or the statement itself.
func (s *statementParser) errorf(member, format string, args ...any) error {
	at := s.path
	if member != "" {
		at += "." + member
	}
	return &SyntaxError{at, fmt.Sprintf(format, args...)}
}

func (s *statementParser) member(name, at string, v *node) (err error) {
	switch name {
	case "Sid":
		s.Sid, err = v.string(at)
	case "Effect":
		var word string
		word, err = v.oneOf(at, "Allow", "Deny")
		s.Effect = map[string]Effect{"Allow": Allow, "Deny": Deny}[word]
	case "Principal":
		s.Principal, err = parsePrincipals(v, at)
	case "NotPrincipal":
		s.NotPrincipal, err = parsePrincipals(v, at)
	case "Action":
		s.Action, err = s.parseActions(v, at)
	case "NotAction":
		s.NotAction, err = s.parseActions(v, at)
	case "Resource":
		s.Resource, err = s.parseResources(v, at)
	case "NotResource":
		s.NotResource, err = s.parseResources(v, at)
	case "Condition":
		err = v.members(at, s.operator)
	default:
		err = &SyntaxError{at, "unknown member; allowed are Sid, Effect, Principal, NotPrincipal, Action, NotAction, Resource, NotResource, Condition"}
	}
	return err
}

func parsePrincipals(v *node, at string) (*Principals, error) {
	p := &Principals{}
	if v.kind == textNode {
		if v.text != "*" {
			return nil, &SyntaxError{at, fmt.Sprintf("principal is %s; allowed are \"*\" and an object such as {\"AWS\": \"arn:aws:iam::111122223333:role/name\"}", quote(v.text))}
		}
		p.Any = true
		return p, nil
	}
	err := v.members(at, func(name, at string, v *node) (err error) {
		switch name {
		case "AWS":
			p.AWS, err = v.strings(at)
			for i, text := range p.AWS {
				if !validPrincipal(text) {
					return &SyntaxError{at, fmt.Sprintf("principal %d is %s; allowed are \"*\", account ids, and ARNs of an account's root, of users, roles and their sessions, without wildcards", i, quote(text))}
				}
			}
		case "Service":
			p.Service, err = v.strings(at)
		case "Federated":
			p.Federated, err = v.strings(at)
		default:
			err = &SyntaxError{at, "unknown kind of principal; allowed are AWS, Service, Federated"}
		}
		return err
	})
	if err == nil && len(p.AWS)+len(p.Service)+len(p.Federated) == 0 {
		err = &SyntaxError{at, "nobody is named"}
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// actionForm is that of an action. It is ASCII before its case is dropped, by which
// the Kelvin sign would become a k.
var actionForm = regexp.MustCompile(`^(\*|[A-Za-z0-9-]{1,64}:[A-Za-z0-9*?]{1,128})$`)

func (s *statementParser) parseActions(v *node, at string) ([]string, error) {
	list, err := v.strings(at)
	for i, text := range list {
		if !actionForm.MatchString(text) {
			return nil, &SyntaxError{at, fmt.Sprintf("action %d is %s; allowed are such as \"kms:Decrypt\", \"kms:*\" and \"*\"", i, quote(text))}
		}
		s.actions = append(s.actions, wild(strings.ToLower(text)))
	}
	return list, err
}

func (s *statementParser) parseResources(v *node, at string) ([]string, error) {
	list, err := v.strings(at)
	for i, text := range list {
		if text != "*" && (!strings.HasPrefix(text, "arn:") || strings.Count(text, ":") < 2) {
			return nil, &SyntaxError{at, fmt.Sprintf("resource %d is %s; allowed are \"*\" and ARNs", i, quote(text))}
		}
		t, err := newTemplate(text, s.variables)
		if err != nil {
			return nil, &SyntaxError{at, err.Error()}
		}
		s.resources = append(s.resources, t)
	}
	return list, err
}

// operator reads one member of Condition.
func (s *statementParser) operator(name, at string, v *node) error {
	o, ok := parseOperator(name)
	if !ok {
		return &SyntaxError{at, "unknown operator; allowed are such as StringEquals, StringEqualsIgnoreCase, StringLike, ArnLike, Bool, Null, NumericLessThan, DateGreaterThan, IpAddress, also with ForAnyValue:, ForAllValues: and IfExists"}
	}
	if len(v.fields) == 0 && v.kind == objectNode {
		return &SyntaxError{at, "no key is there; it would always be true"}
	}
	return v.members(at, func(key, at string, v *node) error {
		if !validKey(key) {
			return &SyntaxError{at, "no condition key; allowed are such as kms:RecipientAttestation:PCR0 and aws:PrincipalArn"}
		}
		values, err := v.strings(at)
		if err != nil {
			return err
		}
		c, i, err := newCondition(o, key, values, s.variables)
		if err != nil {
			return &SyntaxError{path(at, i), err.Error()}
		}
		s.Conditions = append(s.Conditions, c)
		return nil
	})
}

// quote shows what a document had, short and on one line.
func quote(text string) string {
	const longest = 60
	if r := []rune(text[:min(len(text), 4*longest+4)]); len(r) > longest {
		text = string(r[:longest]) + "…"
	}
	return fmt.Sprintf("%q", text)
}

// oneOf is a string that is one of words.
func (n *node) oneOf(at string, words ...string) (string, error) {
	text, err := n.string(at)
	if err == nil && !slices.Contains(words, text) {
		err = &SyntaxError{at, fmt.Sprintf("value is %s; allowed are %s", quote(text), strings.Join(words, " and "))}
	}
	return text, err
}
