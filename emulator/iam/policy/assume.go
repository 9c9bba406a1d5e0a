package policy

import "strings"

// Assuming is p for one who knows some condition keys of a request and fears the
// worst about the others: an Allow loses its conditions on keys that are not
// known, and a Deny with such a condition is left out. What the result denies, p
// denies whatever the other keys are. Index and Sid of statements are as in p.
func (p *Policy) Assuming(known func(key string) bool) *Policy {
	sure := &Policy{Version: p.Version, ID: p.ID}
	variables := p.Version == Version2012
	for _, s := range p.Statements {
		var kept []Condition
		for _, c := range s.Conditions {
			if known(c.Key) && knowsAll(c.Values, variables, known) {
				kept = append(kept, c)
			}
		}
		resourceKnown := knowsAll(s.Resource, variables, known) && knowsAll(s.NotResource, variables, known)
		if s.Effect == Deny && (len(kept) < len(s.Conditions) || !resourceKnown) {
			continue
		}
		s.Conditions = kept
		if !resourceKnown {
			every, _ := newTemplate("*", false)
			s.Resource, s.NotResource, s.resources = []string{"*"}, nil, []template{every}
		}
		sure.Statements = append(sure.Statements, s)
	}
	return sure
}

// knowsAll reports whether every variable in values is known.
func knowsAll(values []string, variables bool, known func(key string) bool) bool {
	for _, v := range values {
		if !strings.Contains(v, "${") {
			continue
		}
		t, err := newTemplate(v, variables)
		if err != nil {
			continue // it is no template: a number, a date, an address
		}
		for _, p := range t.parts {
			if p.key != "" && !known(p.key) {
				return false
			}
		}
	}
	return true
}
