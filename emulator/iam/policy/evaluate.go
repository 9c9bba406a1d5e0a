package policy

import (
	"iter"
	"strings"
)

// An Outcome is what a policy says about a request.
type Outcome struct {
	Effect    Effect
	Statement *Statement // the one that decided; nil with None

	// Delegated is set with Allow if the policy allows it to the requester's
	// account and not to the requester: an identity policy has to allow it too.
	Delegated bool
}

// Evaluate is what p says as a resource policy: a statement applies to those whom
// it names, and one that names nobody applies to nobody. An explicit Deny wins
// over every Allow, and an Allow for the requester over one for its account.
//
// It is safe for concurrent use and does not keep r.
func (p *Policy) Evaluate(r Request) Outcome {
	var best Outcome
	for s, how := range p.matching(&r, false) {
		switch {
		case s.Effect == Deny:
			return Outcome{Effect: Deny, Statement: s}
		case how == direct && (best.Statement == nil || best.Delegated):
			best = Outcome{Effect: Allow, Statement: s}
		case how == account && best.Statement == nil:
			best = Outcome{Effect: Allow, Statement: s, Delegated: true}
		}
	}
	return best
}

// EvaluateIdentity is what p says as a policy of the requester's own: statements
// name no principals, and one that does applies to nobody.
func (p *Policy) EvaluateIdentity(r Request) Outcome {
	var best Outcome
	for s := range p.matching(&r, true) {
		if s.Effect == Deny {
			return Outcome{Effect: Deny, Statement: s}
		}
		if best.Statement == nil {
			best = Outcome{Effect: Allow, Statement: s}
		}
	}
	return best
}

// matching are the statements that apply to a request, of either effect, in the
// order of the policy, and how they are about the requester.
func (p *Policy) matching(r *Request, identity bool) iter.Seq2[*Statement, hit] {
	return func(yield func(*Statement, hit) bool) {
		if p == nil {
			return
		}
		action := strings.ToLower(r.Action)
		for i := range p.Statements {
			s := &p.Statements[i]
			how := direct
			if !identity {
				how = s.about(r.Principal)
			} else if s.hasPrincipal() {
				how = missed
			}
			if how != missed && s.covers(action, r) && s.holds(r) && !yield(s, how) {
				return
			}
		}
	}
}

// covers compares action, which is in lower case, and resource.
func (s *Statement) covers(action string, r *Request) bool {
	return s.coversAction(action) && s.coversResource(r)
}

func (s *Statement) coversAction(action string) bool {
	found := false
	for _, p := range s.actions {
		if found = p.match(action); found {
			break
		}
	}
	return len(s.actions) > 0 && found != (s.NotAction != nil)
}

func (s *Statement) coversResource(r *Request) bool {
	found := false
	for i := range s.resources {
		p, ok := s.resources[i].expandGlob(r)
		if found = ok && p.match(r.Resource); found {
			break
		}
	}
	return len(s.resources) > 0 && found != (s.NotResource != nil)
}

// holds reports whether all conditions hold.
func (s *Statement) holds(r *Request) bool {
	for i := range s.Conditions {
		if !s.Conditions[i].Holds(r) {
			return false
		}
	}
	return true
}

// Covers reports whether the statement is about an action such as "kms:Decrypt",
// whatever its principals, resources and conditions.
func (s *Statement) Covers(action string) bool { return s.coversAction(strings.ToLower(action)) }
