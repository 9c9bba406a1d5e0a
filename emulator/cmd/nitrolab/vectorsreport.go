package main

import (
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/nitrolab/nitrolab/emulator/vectors"
	vectorsrun "github.com/nitrolab/nitrolab/emulator/vectors/run"
)

// vectors prints the failures and the table of groups.
func (p *printer) vectors(r *vectorsrun.Report) {
	failures := r.Failures()
	for _, f := range failures {
		level := ""
		if f.Case.Level != vectors.Must {
			level = " (" + string(f.Case.Level) + ")"
		}
		p.line("%s %s%s", p.bad(f.Judgement().String()), f.Case.ID, p.dim(level))
		p.line("  %s", f.Case.Title)
		if f.Detail != "" {
			p.line("  %s", p.dim("it said: "+f.Detail))
		}
	}
	if len(failures) > 0 {
		p.line("")
	}
	rows := []table.Row{{"group", "cases", "passed", "wrongly accepted", "wrongly rejected", "crashed", "skipped"}}
	for _, c := range append(r.Groups(), r.Total()) {
		name := c.Group
		if name == "" {
			name = "all"
		}
		rows = append(rows, table.Row{name, c.Cases, c.Passed, blankZero(c.WronglyAccepted), blankZero(c.WronglyRejected), blankZero(c.Crashed), blankZero(c.Skipped)})
	}
	p.table(rows)
	p.line("")
	if s := r.Suspicion(); s != "" {
		p.line("%s", s)
	}
	total := r.Total()
	asked := total.Cases - total.Skipped
	switch {
	case asked == 0: // the error says so
	case total.Failed() == 0:
		p.line("%s: %d of %d cases in %.1f s", p.good("all right"), asked, total.Cases, r.Took.Seconds())
	case total.Strict == 0:
		p.line("%s: %d of %d cases in %.1f s", p.bad("wrong"), total.Failed(), asked, r.Took.Seconds())
	default:
		p.line("%s: %d of %d cases in %.1f s; %d of them, of level strict, are not known to be dangerous", p.bad("wrong"), total.Failed(), asked, r.Took.Seconds(), total.Strict)
	}
}

// countVectors shows on a terminal how far a run is, in a line that done takes
// away. A verifier that takes half a second for each case takes minutes.
func countVectors(w io.Writer, all int) (tally func(vectorsrun.Result), done func()) {
	if !isTerminal(w) {
		return nil, func() {}
	}
	asked, wrong, shown := 0, 0, time.Time{}
	return func(r vectorsrun.Result) {
			if asked++; r.Failed() {
				wrong++
			}
			if now := time.Now(); now.Sub(shown) > 100*time.Millisecond {
				shown = now
				fmt.Fprintf(w, "\r%d of %d cases, %d wrong\x1b[K", asked, all, wrong)
			}
		}, func() {
			fmt.Fprint(w, "\r\x1b[K")
		}
}

// blankZero keeps a table of mostly zeros readable.
func blankZero(n int) any {
	if n == 0 {
		return ""
	}
	return n
}

// A vectorsReport is the JSON form of a report.
type vectorsReport struct {
	Command   []string        `json:"command"`
	Protocol  string          `json:"protocol"`
	Seconds   float64         `json:"seconds"`
	Total     vectorsCount    `json:"total"`
	Groups    []vectorsCount  `json:"groups"`
	Suspicion string          `json:"suspicion,omitempty"`
	Results   []vectorsResult `json:"results"`
}

type vectorsCount struct {
	Group           string `json:"group,omitempty"`
	Cases           int    `json:"cases"`
	Passed          int    `json:"passed"`
	WronglyAccepted int    `json:"wrongly_accepted"`
	WronglyRejected int    `json:"wrongly_rejected"`
	Crashed         int    `json:"crashed"`
	Skipped         int    `json:"skipped"`
	Strict          int    `json:"failed_of_level_strict"`
}

type vectorsResult struct {
	ID       string             `json:"id"`
	Group    string             `json:"group"`
	Title    string             `json:"title"`
	Level    vectors.Level      `json:"level"`
	Expected vectors.Verdict    `json:"expected"`
	Outcome  vectorsrun.Outcome `json:"outcome"`
	Passed   bool               `json:"passed"`
	Detail   string             `json:"detail,omitempty"`
	Seconds  float64            `json:"seconds"`
}

func vectorsReportOf(r *vectorsrun.Report) vectorsReport {
	report := vectorsReport{
		Command: r.Command, Protocol: r.Protocol.String(), Seconds: r.Took.Seconds(),
		Total: vectorsCount(r.Total()), Suspicion: r.Suspicion(),
		Groups: []vectorsCount{}, Results: []vectorsResult{},
	}
	for _, c := range r.Groups() {
		report.Groups = append(report.Groups, vectorsCount(c))
	}
	for _, result := range r.Results {
		c := result.Case
		report.Results = append(report.Results, vectorsResult{
			ID: c.ID, Group: c.Group, Title: c.Title, Level: c.Level, Expected: c.Verdict,
			Outcome: result.Outcome, Passed: result.Judgement() == vectorsrun.Passed, Detail: result.Detail, Seconds: result.Took.Seconds(),
		})
	}
	return report
}
