package run_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/emulator/vectors"
	"github.com/nitrolab/nitrolab/emulator/vectors/run"
)

func TestSelection(t *testing.T) {
	fails := func(checks ...string) func(*vectors.Case) {
		return func(c *vectors.Case) { c.Fails, c.PCRs = checks, map[uint]vectors.Hex{0: {1}} }
	}
	orders := []order{
		{document: "accept", verdict: vectors.Accept, edit: func(c *vectors.Case) { c.Group, c.Nonce = "good", vectors.Hex{1} }},
		{document: "reject nonce", verdict: vectors.Reject, edit: fails("nonce")},
		{document: "reject nonce and signature", verdict: vectors.Reject, edit: fails("signature", "nonce")},
		{document: "reject nonce and PCR", verdict: vectors.Reject, edit: fails("PCR0", "nonce")},
		{document: "reject PCR4 and PCR31", verdict: vectors.Reject, edit: fails("PCR4", "PCR31")},
		{document: "reject user data", verdict: vectors.Reject, edit: fails("user_data")},
		{document: "reject public key", verdict: vectors.Reject, edit: fails("public_key")},
		{document: "reject age", verdict: vectors.Reject, edit: fails("freshness")},
		{document: "reject no roots", verdict: vectors.Reject, edit: func(c *vectors.Case) { fails("call")(c); c.Roots = nil }},
		{document: "reject no policy", verdict: vectors.Reject, edit: func(c *vectors.Case) { c.Fails, c.Group = []string{"call"}, "A6" }},
		{document: "accept archived", verdict: vectors.Accept, edit: func(c *vectors.Case) { c.Archive = true }},
		{document: "reject debug", verdict: vectors.Reject, edit: func(c *vectors.Case) { fails("debug")(c); c.Level = vectors.Strict }},
	}
	tests := []struct {
		name   string
		s      run.Selection
		want   string // the documents left out
		detail string // of the first one
	}{
		{name: "all"},
		{"must", run.Selection{Level: vectors.Must}, "reject debug", "level strict"},
		{"strict takes all", run.Selection{Level: vectors.Strict}, "", ""},
		{"skip", run.Selection{SkipGroups: []string{"A6", "good"}}, "accept,reject no policy", "group good"},
		{"groups", run.Selection{Groups: []string{"A1"}}, "accept,reject no policy", "group good"},
		{"nonce", run.Selection{Without: []run.Expectation{run.Nonce}}, "reject nonce", "needs nonce"},
		{"pcrs", run.Selection{Without: []run.Expectation{run.PCRs}}, "reject PCR4 and PCR31,reject no policy", "needs pcrs"},
		{"both", run.Selection{Without: []run.Expectation{run.PCRs, run.Nonce}}, "reject nonce,reject nonce and PCR,reject PCR4 and PCR31,reject no policy", "needs nonce"},
		{"user-data", run.Selection{Without: []run.Expectation{run.UserData}}, "reject user data", "needs user-data"},
		{"public-key", run.Selection{Without: []run.Expectation{run.PublicKey}}, "reject public key", "needs public-key"},
		{"max-age", run.Selection{Without: []run.Expectation{run.MaxAge}}, "reject age", "needs max-age"},
		{"roots", run.Selection{Without: []run.Expectation{run.Roots}}, "reject no roots", "needs roots"},
		{"archive", run.Selection{Without: []run.Expectation{run.Archive}}, "accept archived", "needs archive"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := configOf(t, run.JSONL, orders...)
			cfg.Select = tt.s
			r := must(t, cfg)
			var left []string
			detail := ""
			for _, result := range r.Results {
				if result.Outcome != run.Skipped {
					if result.Failed() {
						t.Errorf("%s: %s", result.Case.Title, result.Outcome)
					}
					continue
				}
				if left = append(left, strings.TrimPrefix(result.Case.Title, "order ")); detail == "" {
					detail = result.Detail
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(left, ",")); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
			if detail != tt.detail {
				t.Errorf("detail is %q, want %q", detail, tt.detail)
			}
		})
	}
}
