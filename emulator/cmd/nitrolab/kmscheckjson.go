package main

import "github.com/nitrolab/nitrolab/emulator/iam/policy/review"

// A policyReport is the JSON form of a checked policy.
type policyReport struct {
	Safe     bool             `json:"safe"`
	Kind     string           `json:"kind"` // "key policy" or "identity policy"
	Key      string           `json:"key"`
	Findings []review.Finding `json:"findings"`
	Requests []policyRequest  `json:"requests"`
	Missing  []string         `json:"locked_out"` // images that were given and get no key
}

// A policyRequest is a row of the table.
type policyRequest struct {
	Name     string `json:"name"`
	Attested bool   `json:"attested"` // the image itself: it is to get a key
	Leak     bool   `json:"leak"`     // it gets a key and should not

	// Releases are by action; one that is not decided by this policy is missing.
	Releases map[string][]policyRelease `json:"releases"`
}

// A policyRelease is who gets the key, and why.
type policyRelease struct {
	Requester  string   `json:"requester"`
	Statement  *int     `json:"statement,omitempty"`
	ByIdentity bool     `json:"if_identity_policy_allows"`
	If         []string `json:"if_keys_fit,omitempty"`
}

func policyReportOf(r *kmsCheckResult) policyReport {
	out := policyReport{
		Safe: r.safe(), Kind: kindOf(r.report), Key: r.report.KeyARN,
		Findings: append([]review.Finding{}, r.findings...),
		Missing:  append([]string{}, r.missing...),
	}
	for i, q := range r.report.Requests {
		row := policyRequest{Name: q.Name, Attested: q.Attested, Releases: map[string][]policyRelease{}}
		for j, action := range review.RecipientActions {
			if !r.report.Decides(action) {
				continue
			}
			list := []policyRelease{}
			for _, release := range r.report.Releases[i][j] {
				p := policyRelease{Requester: release.Requester, ByIdentity: release.ByIdentity, If: release.If}
				if s := release.Statement; s != nil {
					p.Statement = &s.Index
				}
				list = append(list, p)
			}
			row.Releases[action] = list
		}
		out.Requests = append(out.Requests, row)
	}
	for _, i := range r.report.Leaks() {
		out.Requests[i].Leak = true
	}
	return out
}
