package policy

// MaxSize is the largest policy document in bytes: the limit of a key policy
// (KMS API, PutKeyPolicy: Policy, 1 to 32768).
const MaxSize = 32 << 10

// Versions of the policy language. In the older one, which a document without
// Version has, ${...} is text like any other.
const (
	Version2012 = "2012-10-17"
	Version2008 = "2008-10-17"
)

// A Policy is a document that [Parse] has read. It is immutable and safe for
// concurrent use; a Policy or Statement made in another way matches nothing.
type Policy struct {
	Version    string // Version2012, Version2008 or "", which means the latter
	ID         string // "" if the document has none
	Statements []Statement
}

// A Statement is one rule of a Policy. Of each pair of Action and NotAction,
// Resource and NotResource one is set, of Principal and NotPrincipal at most one.
type Statement struct {
	Sid   string // "" if it has none
	Index int    // place in the policy, from 0

	Effect Effect // Allow or Deny

	Principal, NotPrincipal *Principals
	Action, NotAction       []string
	Resource, NotResource   []string

	Conditions []Condition // all must hold

	actions   []pattern  // of Action or NotAction, in lower case
	resources []template // of Resource or NotResource
}

// hasPrincipal reports whether the statement says whom it is about.
func (s *Statement) hasPrincipal() bool { return s.Principal != nil || s.NotPrincipal != nil }

// Principals are who a statement is about.
type Principals struct {
	// Any is "Principal": "*". {"AWS": "*"}, which means the same, is in AWS.
	Any bool

	// AWS has account ids, ARNs of IAM and STS, unique ids, or "*".
	AWS []string

	// Service and Federated are kept as they are and match nobody: there are no
	// AWS services and no federated users here to make a request.
	Service, Federated []string
}

// A Condition is one operator applied to one key. It holds for the values of the
// key in a request by the rules of the operator; see [Operator].
type Condition struct {
	Operator Operator
	Key      string   // as written, such as "kms:RecipientAttestation:PCR0"
	Values   []string // at least one; booleans and numbers as their text

	tests []test
}

// An Effect is what a statement or a policy says about a request.
type Effect uint8

// The effects. None is that of a policy no statement of which matches.
const (
	None Effect = iota
	Allow
	Deny
)

// String is the word of the policy language, or "None".
func (e Effect) String() string {
	switch e {
	case Allow:
		return "Allow"
	case Deny:
		return "Deny"
	}
	return "None"
}

// A SyntaxError is why [Parse] or one of the checks refuses a document.
type SyntaxError struct {
	Path string // such as "Statement[1].Condition.StringEqual"; "" is the document
	Text string // one clause: what was found and what is allowed
}

func (e *SyntaxError) Error() string {
	if e.Path == "" {
		return "policy: " + e.Text
	}
	return "policy: " + e.Path + ": " + e.Text
}

// CheckResource refuses what a resource policy must not be, and a key policy is
// one: with a statement that names no principal. Errors are of type *SyntaxError.
func (p *Policy) CheckResource() error {
	for i := range p.Statements {
		if !p.Statements[i].hasPrincipal() {
			return &SyntaxError{path("Statement", i), "Principal is missing; a resource policy says in each statement whom it is about"}
		}
	}
	return nil
}

// CheckIdentity refuses what a policy of a user or a role must not be: with
// principals. Errors are of type *SyntaxError.
func (p *Policy) CheckIdentity() error {
	for i := range p.Statements {
		if p.Statements[i].hasPrincipal() {
			return &SyntaxError{path("Statement", i), "Principal is there; an identity policy is about whoever has it and names nobody"}
		}
	}
	return nil
}
