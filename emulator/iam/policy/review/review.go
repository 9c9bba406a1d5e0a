package review

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
)

// Policy says what is wrong with a key policy, or an identity policy, for the key
// of an enclave. keyARN may be ""; see [KeyOf]. No findings do not mean that the
// policy is right: [Table] says for whom it opens.
func Policy(p *policy.Policy, keyARN string) []Finding {
	if keyARN == "" {
		keyARN = KeyOf(p)
	}
	r := reviewer{policy: p, keyARN: keyARN, identity: isIdentity(p)}
	for i := range p.Statements {
		s := &p.Statements[i]
		r.values(s)
		if s.Effect == policy.Allow {
			r.elsewhere(s)
			r.services(s)
			r.open(s)
			r.around(s)
			r.unattestable(s)
			r.anyone(s)
		} else {
			r.deny(s)
		}
	}
	return r.found
}

type reviewer struct {
	policy   *policy.Policy
	keyARN   string
	identity bool
	found    []Finding
}

func (r *reviewer) add(severity Severity, s *policy.Statement, actions []string, format string, args ...any) {
	r.found = append(r.found, Finding{severity, s.Index, s.Sid, actions, fmt.Sprintf(format, args...)})
}

// reaches are those of actions for which the statement answers a request of
// someone it is for, that no Deny stops.
func (r *reviewer) reaches(s *policy.Statement, request Request, actions []string) []string {
	alone := *r.policy
	alone.Statements = nil
	for _, other := range r.policy.Statements {
		if other.Effect == policy.Deny || other.Index == s.Index {
			alone.Statements = append(alone.Statements, other)
		}
	}
	// play finds statements by their index.
	for i := range alone.Statements {
		alone.Statements[i].Index = i
	}
	asking := named(&alone)
	if r.identity {
		holder, _ := NewRequester(policy.AccountOf(r.keyARN), nil)
		asking = []Requester{holder}
	}
	about := of(s, actions)
	got := make([]bool, len(about))
	for _, a := range asking {
		p := player{policy: &alone, identity: r.identity, keyARN: r.keyARN, requester: a}
		for i, release := range p.play(request, about) {
			got[i] = got[i] || release != nil
		}
		if !slices.Contains(got, false) {
			break
		}
	}
	var reached []string
	for i, action := range about {
		if got[i] {
			reached = append(reached, action)
		}
	}
	return reached
}

// keyActions are RecipientActions but for the one that is about no key.
var keyActions = slices.DeleteFunc(slices.Clone(RecipientActions), func(a string) bool { return a == actionRandom })

// open finds statements that give a key to what is not the image (B1, B2, B7 of
// the catalogue of attacks).
func (r *reviewer) open(s *policy.Statement) {
	none := Request{}
	if actions := r.reaches(s, none, keyActions); actions != nil {
		conditions := attested(s)
		if len(conditions) == 0 {
			r.add(Error, s, actions, "allows %s to %s without a condition on the attestation: the answer is plain text, for no enclave at all", list(actions), r.whom(s))
			return
		}
		r.add(Error, s, actions, "allows %s to %s also without an attestation: %s; what is needed is such as StringEqualsIgnoreCase on %sPCR0",
			list(actions), r.whom(s), strings.Join(why(conditions), ", "), attestationPrefix)
		return
	}
	stranger0, stranger1, stranger2 := stranger("PCR0"), stranger("PCR1"), stranger("PCR2")
	if actions := r.reaches(s, Request{registers: document(stranger0, stranger1, stranger2, "")}, keyActions); actions != nil {
		r.add(Error, s, actions, "allows %s to every enclave image of %s: its conditions on the attestation name no image; what is needed is PCR0 or ImageSha384, or PCR8 for a signer",
			list(actions), r.whom(s))
		return
	}
	if actions := r.reaches(s, Request{registers: document(zero, zero, zero, "")}, keyActions); actions != nil {
		r.add(Error, s, actions, "allows %s to every enclave in debug mode: it lets 96 zeros through, which is what PCR0, PCR1, PCR2 of each of them are, and its console is open",
			list(actions))
	}
	named := measurementsOf(s)
	for _, image := range imagesOf(s, nil) {
		for _, half := range []struct {
			pcr       int
			registers map[int]string
			text      string
		}{
			{1, document(stranger0, image.PCR1, stranger2, ""), "PCR1 is kernel and init, so any application on them gets the key"},
			{2, document(stranger0, stranger1, image.PCR2, ""), "PCR2 is the application, so any kernel under it gets the key"},
		} {
			if named[half.pcr] == nil {
				continue
			}
			if actions := r.reaches(s, Request{registers: half.registers}, keyActions); actions != nil {
				r.add(Error, s, actions, "allows %s to more than the image: %s; what is needed is PCR0 or ImageSha384", list(actions), half.text)
				return
			}
		}
	}
}

// elsewhere finds statements that are about other keys, of which nothing else is
// said then.
func (r *reviewer) elsewhere(s *policy.Statement) {
	about := of(s, slices.Concat(keyActions, []string{actionReEncrypt}, changing))
	if about == nil {
		return
	}
	alone := *s
	alone.Index, alone.Principal, alone.NotPrincipal = 0, nil, nil
	p := (&policy.Policy{Version: r.policy.Version, Statements: []policy.Statement{alone}}).Assuming(func(string) bool { return false })
	for _, a := range about {
		if p.EvaluateIdentity(policy.Request{Action: a, Resource: r.keyARN}).Effect == policy.Allow {
			return
		}
	}
	if r.identity {
		r.add(Note, s, nil, "is not about %s, and is judged for no other key", printable(r.keyARN))
		return
	}
	r.add(Warning, s, nil, "is not about %s: a key policy is about its own key, so for any other Resource it says nothing", printable(r.keyARN))
}

// services finds statements for those who never attest, and who are not played.
func (r *reviewer) services(s *policy.Statement) {
	if s.Principal == nil || len(s.Principal.Service)+len(s.Principal.Federated) == 0 {
		return
	}
	actions := of(s, keyActions)
	if actions == nil || slices.ContainsFunc(attested(s), func(c *policy.Condition) bool { return c.NeedsKey() }) {
		return
	}
	var names []string
	for _, n := range slices.Concat(s.Principal.Service, s.Principal.Federated) {
		names = append(names, printable(n))
	}
	r.add(Warning, s, actions, "allows %s to %s without a condition on the attestation; services and federated users are not in the table", list(actions), shortList(names))
}

// shortList is list for names of which there can be many.
func shortList(names []string) string {
	if len(names) > 3 {
		names = append(names[:3:3], fmt.Sprintf("%d more", len(names)-3))
	}
	return list(names)
}

// why says for each condition how it is true without a document.
func why(conditions []*policy.Condition) []string {
	var reasons []string
	for _, c := range conditions {
		if c.NeedsKey() {
			continue
		}
		o := c.Operator
		text := o.String() + " on " + printable(c.Key)
		switch {
		case o.IfExists, o.Set == policy.ForAllValues:
			text += " is true if the key is absent"
		case o.Name == nullOperator:
			text += " wants the key to be absent"
		default:
			text += " is a negation, which an absent key fulfils"
		}
		reasons = append(reasons, text)
	}
	return reasons
}

// whom is whom a statement is for.
func (r *reviewer) whom(s *policy.Statement) string {
	if r.identity {
		return "whoever has the policy"
	}
	var names []string
	for _, principal := range principalsOf(s) {
		if q, ok := NewRequester(principal, nil); ok {
			names = append(names, q.Name)
		} else {
			names = append(names, printable(principal))
		}
	}
	return shortList(names)
}

// around finds actions that lead around the attestation.
func (r *reviewer) around(s *policy.Statement) {
	none := Request{}
	if actions := r.reaches(s, none, []string{actionReEncrypt}); actions != nil {
		r.add(Error, s, actions, "allows %s to %s: it takes no attestation, and turns a ciphertext of this key into one of a key of their own", actionReEncrypt, r.whom(s))
	}
	actions := r.reaches(s, none, changing)
	if actions == nil {
		return
	}
	severity, text := Warning, "allows %s to %s, who can so allow themselves what the policy denies"
	if onlyAccount(s) {
		severity, text = Note, "allows %s to %s whose identity policy allows it, who can so allow themselves what the policy denies"
	}
	r.add(severity, s, actions, text, list(actions), r.whom(s))
}

// onlyAccount reports whether a statement leaves it to the identity policies of
// accounts.
func onlyAccount(s *policy.Statement) bool {
	if s.Principal == nil || s.Principal.Any {
		return false
	}
	return !slices.ContainsFunc(principalsOf(s), func(p string) bool { return p == "*" || strings.HasPrefix(p, "arn:") })
}

// unattestable finds actions for which the statement's conditions are never true.
func (r *reviewer) unattestable(s *policy.Statement) {
	if !slices.ContainsFunc(attested(s), func(c *policy.Condition) bool { return c.NeedsKey() }) {
		return
	}
	var never []string
	for _, action := range of(s, withoutDocument) {
		// A wildcard is about them too, but not for their sake.
		if slices.ContainsFunc(s.Action, func(a string) bool { return strings.EqualFold(a, action) }) {
			never = append(never, action)
		}
	}
	if never != nil {
		r.add(Warning, s, never, "never allows %s: no attestation goes with it, so the conditions are false; it needs a statement of its own", list(never))
	}
}

// anyone finds statements that are for everybody who runs the image.
func (r *reviewer) anyone(s *policy.Statement) {
	if len(attested(s)) == 0 || of(s, keyActions) == nil || !slices.Contains(principalsOf(s), "*") {
		return
	}
	for _, c := range s.Conditions {
		switch strings.ToLower(c.Key) {
		case "aws:principalarn", "aws:principalaccount", "aws:principalorgid", "aws:principalorgpaths", "kms:calleraccount":
			return
		}
	}
	r.add(Warning, s, nil, "is for anyone who runs the image, in any account: whoever does chooses what the enclave is given and told; what is needed is a Principal, or a condition on kms:CallerAccount")
}

// deny finds refusals that refuse less than they seem to.
func (r *reviewer) deny(s *policy.Statement) {
	conditions := attested(s)
	if len(conditions) == 0 || of(s, keyActions) == nil {
		return
	}
	var negated []string
	for _, c := range conditions {
		if !c.Operator.Negated() {
			continue
		}
		if c.NeedsKey() {
			r.add(Warning, s, nil, "does not deny a request without an attestation: %s on %s is false if the key is absent", c.Operator, printable(c.Key))
		}
		negated = append(negated, printable(c.Key))
	}
	if len(negated) > 1 {
		r.add(Warning, s, nil, "denies only what differs in all of %s: one that is right is enough to pass; each needs a statement of its own", list(negated))
	}
}
