package run_test

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jstemmer/go-junit-report/v2/junit"

	"github.com/nitrolab/nitrolab/emulator/vectors"
	"github.com/nitrolab/nitrolab/emulator/vectors/run"
)

func result(group string, verdict vectors.Verdict, level vectors.Level, outcome run.Outcome, detail string) run.Result {
	return run.Result{
		Case: vectors.Case{
			ID: group + "-x", Group: group, Title: "title", Wrong: "it is wrong", Source: "book", Verdict: verdict, Level: level,
		},
		Outcome: outcome, Detail: detail, Took: 1500 * time.Millisecond,
	}
}

// testReport has each verdict with each outcome.
func testReport() *run.Report {
	return &run.Report{
		Command: []string{"./verifier", "--strict"}, Took: 3 * time.Second,
		Results: []run.Result{
			result("good", vectors.Accept, vectors.Must, run.Accepted, ""),
			result("good", vectors.Accept, vectors.Must, run.Rejected, "no <root> & \x01 nothing"),
			result("A1", vectors.Reject, vectors.Must, run.Accepted, ""),
			result("A1", vectors.Reject, vectors.Strict, run.Accepted, ""),
			result("A1", vectors.Reject, vectors.Strict, run.Rejected, "wrong root"),
			result("good", vectors.Accept, vectors.Strict, run.Crashed, "signal: killed"),
			result("A2", vectors.Either, vectors.Must, run.Accepted, ""),
			result("A2", vectors.Either, vectors.Must, run.Rejected, ""),
			result("A2", vectors.Either, vectors.Must, run.Hung, ""),
			result("A2", vectors.Reject, vectors.Must, run.Skipped, "needs nonce"),
		},
	}
}

func TestCounts(t *testing.T) {
	r := testReport()
	want := []run.Count{
		{Group: "good", Cases: 3, Passed: 1, WronglyRejected: 1, Crashed: 1, Strict: 1},
		{Group: "A1", Cases: 3, Passed: 1, WronglyAccepted: 2, Strict: 1},
		{Group: "A2", Cases: 4, Passed: 2, Crashed: 1, Skipped: 1},
	}
	if diff := cmp.Diff(want, r.Groups()); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	total := r.Total()
	if diff := cmp.Diff(run.Count{Cases: 10, Passed: 4, WronglyAccepted: 2, WronglyRejected: 1, Crashed: 2, Skipped: 1, Strict: 2}, total); diff != "" {
		t.Errorf("total (-want +got):\n%s", diff)
	}
	if total.Failed() != 5 || len(r.Failures()) != 5 {
		t.Errorf("%d failed, %d listed; want 5", total.Failed(), len(r.Failures()))
	}
}

func TestJUnit(t *testing.T) {
	var b bytes.Buffer
	if err := testReport().WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	var got junit.Testsuites
	if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatalf("%v in:\n%s", err, b.String())
	}
	if got.Tests != 10 || got.Failures != 3 || got.Errors != 2 || got.Skipped != 1 {
		t.Errorf("%d tests, %d failures, %d errors, %d skipped; want 10, 3, 2, 1", got.Tests, got.Failures, got.Errors, got.Skipped)
	}
	want := junit.Testsuite{
		Name: "nitrolab.vectors.A1", ID: 1, Tests: 3, Failures: 2, Time: "4.500",
		Properties: &[]junit.Property{{Name: "command", Value: "./verifier --strict"}, {Name: "protocol", Value: "process per case"}},
		Testcases: []junit.Testcase{
			{Name: "A1-x", Classname: "nitrolab.vectors.A1", Time: "1.500", Failure: &junit.Result{
				Message: "title", Type: "wrongly accepted", Data: "expected reject, got accept\nwrong: it is wrong\nlevel: must\nsource: book",
			}},
			{Name: "A1-x", Classname: "nitrolab.vectors.A1", Time: "1.500", Failure: &junit.Result{
				Message: "title", Type: "wrongly accepted", Data: "expected reject, got accept\nwrong: it is wrong\nlevel: strict\nsource: book",
			}},
			{Name: "A1-x", Classname: "nitrolab.vectors.A1", Time: "1.500"},
		},
	}
	if diff := cmp.Diff(want, got.Suites[1], cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("suite A1 (-want +got):\n%s", diff)
	}
	if e := got.Suites[2].Testcases[2].Error; e == nil || e.Type != "crashed" || !strings.HasPrefix(e.Data, "expected either, got hung\n") {
		t.Errorf("hung case is %+v", e)
	}
	if s := got.Suites[2].Testcases[3].Skipped; s == nil || s.Message != "needs nonce" {
		t.Errorf("skipped case is %+v", s)
	}
}

func TestSuspicion(t *testing.T) {
	one := func(v vectors.Verdict, o run.Outcome) run.Result {
		return result("A1", v, vectors.Must, o, "said "+string(v))
	}
	tests := []struct {
		name    string
		results []run.Result
		want    string
	}{
		{"mixed", testReport().Results, ""},
		{"rejects all", []run.Result{one(vectors.Reject, run.Rejected), one(vectors.Accept, run.Rejected)}, "About the first good one it said: said accept"},
		{"accepts all", []run.Result{one(vectors.Reject, run.Accepted), one(vectors.Accept, run.Accepted)}, "no document was rejected"},
		{"crashes always", []run.Result{one(vectors.Reject, run.Crashed), one(vectors.Accept, run.Crashed)}, "no document was accepted"},
		{"was asked about bad ones only", []run.Result{one(vectors.Reject, run.Rejected), one(vectors.Accept, run.Skipped)}, ""},
		{"was asked about good ones only", []run.Result{one(vectors.Accept, run.Accepted)}, ""},
	}
	for _, tt := range tests {
		r := run.Report{Results: tt.results}
		if got := r.Suspicion(); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
