package policy

// A Decision is that of a service about a request.
type Decision struct {
	Allowed bool

	// Reason is the clause that ends AWS's message for a refusal, such as
	// "because no resource-based policy allows the kms:Decrypt action" or "with an
	// explicit deny in a resource-based policy"; "" if allowed.
	Reason string

	// Statement is that of the resource policy that decided, Identity that of an
	// identity policy; nil where none did. A request that is allowed by
	// delegation, or across accounts, has both.
	Statement, Identity *Statement
}

// Authorize decides about a request by the rules for KMS keys (AWS KMS developer
// guide, "Troubleshooting key access"; IAM user guide, "Policy evaluation
// logic"). An explicit Deny of any policy wins. Otherwise it is allowed if the
// resource policy allows it
//
//   - to the requester, and the requester is of the resource's account; or
//   - to the requester or its account, and an identity policy allows it too.
//
// So an identity policy alone never opens a key. A nil resource is for requests
// that are about no resource with a policy, such as kms:CreateKey: identity
// policies decide alone. The root user needs no identity policy.
func Authorize(resource *Policy, identity []*Policy, r Request) Decision {
	own := evaluateAll(identity, r)
	var key Outcome
	if resource != nil {
		key = resource.Evaluate(r)
	}
	switch {
	case key.Effect == Deny:
		return Decision{Reason: "with an explicit deny in a resource-based policy", Statement: key.Statement}
	case own.Effect == Deny:
		return Decision{Reason: "with an explicit deny in an identity-based policy", Identity: own.Statement}
	case resource != nil && key.Effect != Allow:
		return Decision{Reason: "because no resource-based policy allows the " + r.Action + " action"}
	}
	needed := resource == nil || key.Delegated || foreign(r)
	if needed && own.Effect != Allow && !r.Principal.IsRoot() {
		return Decision{Reason: "because no identity-based policy allows the " + r.Action + " action"}
	}
	d := Decision{Allowed: true, Statement: key.Statement}
	if needed {
		d.Identity = own.Statement
	}
	return d
}

// foreign reports whether requester and resource are of different accounts.
func foreign(r Request) bool {
	owner := AccountOf(r.Resource)
	return owner != "" && owner != r.Principal.Account
}

// evaluateAll is what identity policies say together.
func evaluateAll(policies []*Policy, r Request) Outcome {
	var best Outcome
	for _, p := range policies {
		switch o := p.EvaluateIdentity(r); {
		case o.Effect == Deny:
			return o
		case best.Effect == None:
			best = o
		}
	}
	return best
}
