package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
	"github.com/nitrolab/nitrolab/emulator/iam/policy/review"
	"github.com/nitrolab/nitrolab/emulator/qemu"
)

func (f *kmsCheck) print(w io.Writer, r *kmsCheckResult) error {
	if f.json {
		if err := printJSON(w, policyReportOf(r)); err != nil {
			return err
		}
	} else {
		newPrinter(w).policy(r)
	}
	if !r.safe() {
		return &exitError{code: codeFailed}
	}
	return nil
}

// policy shows findings, who gets a key, and the verdict.
func (p *printer) policy(r *kmsCheckResult) {
	p.line("%s for %s", kindOf(r.report), r.report.KeyARN)
	for _, f := range r.findings {
		word := fmt.Sprintf("%-7s", f.Severity)
		if f.Severity == review.Error {
			word = p.bad(word)
		}
		p.line("%s %s %s", word, f.Where(), f.Text)
	}
	p.line("")
	notes := p.requests(r.report)
	p.line("")
	for i, n := range notes {
		p.line("%d  %s", i+1, n)
	}
	if !r.report.Identity {
		p.line("-  about no key, so that key policies do not decide")
	}
	for _, name := range r.missing {
		p.line("%s: %s gets no key", p.bad("locked out"), name)
	}
	leaks := r.report.Leaks()
	for _, i := range leaks {
		p.line("%s: %s gets a key", p.bad("leak"), r.report.Requests[i].Name)
	}
	switch {
	case len(leaks) > 0:
		p.line("%s: %d of %d requests that should get no key do", p.bad("unsafe"), len(leaks), asked(r.report))
	case r.errors() > 0:
		p.line("%s: no request of the table, but see the errors above", p.bad("unsafe"))
	case len(r.missing) > 0:
		p.line("%s", p.bad("not for this image"))
	default:
		p.line("%s: none of %d requests that should get no key does", p.good("safe"), asked(r.report))
	}
}

// asked is the number of requests that should get no key.
func asked(r review.Report) (n int) {
	for _, q := range r.Requests {
		if !q.Attested && !q.Allowed {
			n++
		}
	}
	return n
}

func kindOf(r review.Report) string {
	if r.Identity {
		return "identity policy"
	}
	return "key policy"
}

// requests prints who gets what, and returns the notes that its numbers are of.
func (p *printer) requests(r review.Report) (notes []string) {
	header := table.Row{"request"}
	for _, action := range review.RecipientActions {
		header = append(header, strings.TrimPrefix(action, "kms:"))
	}
	rows := []table.Row{header}
	leaks := r.Leaks()
	for i, q := range r.Requests {
		row := table.Row{q.Name}
		for j, action := range review.RecipientActions {
			releases := r.Releases[i][j]
			switch {
			case !r.Decides(action):
				row = append(row, "-")
				continue
			case len(releases) == 0:
				row = append(row, "denied")
				continue
			}
			note := noteOf(releases)
			n := slices.Index(notes, note)
			if n < 0 {
				n, notes = len(notes), append(notes, note)
			}
			cell := fmt.Sprintf("released %d", n+1)
			switch {
			case slices.Contains(leaks, i):
				cell = p.bad(cell)
			case q.Attested:
				cell = p.good(cell)
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	p.table(rows)
	return notes
}

// mostReleases are as many as a note lists.
const mostReleases = 3

// noteOf says to whom and why.
func noteOf(releases []review.Release) string {
	var parts []string
	for i, r := range releases {
		if i == mostReleases {
			parts = append(parts, fmt.Sprintf("and %d more", len(releases)-i))
			break
		}
		text := "to " + r.Requester
		if r.Statement != nil {
			text += " by " + whereOf(r.Statement)
		}
		var when []string
		if r.ByIdentity {
			when = append(when, "an identity policy allows it too")
		}
		switch len(r.If) {
		case 0:
		case 1:
			when = append(when, r.If[0]+" fits")
		default:
			when = append(when, strings.Join(r.If, ", ")+" fit")
		}
		if when != nil {
			text += ", if " + strings.Join(when, " and ")
		}
		parts = append(parts, text)
	}
	return oneLine(qemu.Printable([]byte(strings.Join(parts, "; "))))
}

func whereOf(s *policy.Statement) string {
	return review.Finding{Statement: s.Index, Sid: s.Sid}.Where()
}
