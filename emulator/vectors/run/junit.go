package run

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jstemmer/go-junit-report/v2/junit"
)

// WriteJUnit writes the report as JUnit XML, one suite per group: what is wrong is
// a failure, a crash or a hang is an error.
func (r *Report) WriteJUnit(w io.Writer) error {
	suites := junit.Testsuites{Name: "nitrolab vectors", Time: seconds(r.Took)}
	for id, group := range r.Groups() {
		suite := junit.Testsuite{Name: "nitrolab.vectors." + group.Group, ID: id}
		suite.AddProperty("command", strings.Join(r.Command, " "))
		suite.AddProperty("protocol", r.Protocol.String())
		var took time.Duration
		for i := range r.Results {
			if result := &r.Results[i]; result.Case.Group == group.Group {
				suite.AddTestcase(testcase(result, suite.Name))
				took += result.Took
			}
		}
		suite.Time = seconds(took)
		suites.AddSuite(suite)
	}
	if err := suites.WriteXML(w); err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	return nil
}

func testcase(r *Result, suite string) junit.Testcase {
	tc := junit.Testcase{Name: r.Case.ID, Classname: suite, Time: seconds(r.Took)}
	judgement := r.Judgement()
	result := &junit.Result{Message: r.Case.Title, Type: judgement.String(), Data: r.sentence()}
	switch judgement {
	case WronglyAccepted, WronglyRejected:
		tc.Failure = result
	case Broken:
		tc.Error = result
	case NotAsked:
		tc.Skipped = &junit.Result{Message: r.Detail}
	}
	return tc
}

// sentence says what went wrong, for people who have only the report. What comes
// from the verifier or from the corpus of somebody else is made harmless: it goes
// into a CDATA section, which escapes nothing.
func (r *Result) sentence() string {
	var b strings.Builder
	fmt.Fprintf(&b, "expected %s, got %s", r.Case.Verdict, r.Outcome)
	if r.Detail != "" {
		fmt.Fprintf(&b, ": %s", oneLine(r.Detail))
	}
	if r.Case.Wrong != "" {
		fmt.Fprintf(&b, "\nwrong: %s", oneLine(r.Case.Wrong))
	}
	fmt.Fprintf(&b, "\nlevel: %s\nsource: %s", r.Case.Level, oneLine(r.Case.Source))
	return b.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
