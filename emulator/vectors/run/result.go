package run

import (
	"time"

	"github.com/nitrolab/nitrolab/emulator/vectors"
)

// An Outcome is what became of one case.
type Outcome string

const (
	Accepted Outcome = "accept"
	Rejected Outcome = "reject"
	Crashed  Outcome = "crashed" // ended without a verdict, or said no verdict
	Hung     Outcome = "hung"    // said nothing in time
	Skipped  Outcome = "skipped" // was not asked
)

// A Result is one case with what the verifier made of it.
type Result struct {
	Case    vectors.Case
	Outcome Outcome

	// Detail is one line without control characters: the verifier's reason or
	// last words, or why the case was skipped. It may be empty.
	Detail string

	// Took is how long the verifier did, its start included under PerCase.
	Took time.Duration
}

// A Judgement compares an outcome with the verdict of a correct verifier.
type Judgement uint8

const (
	Passed Judgement = iota
	WronglyAccepted
	WronglyRejected
	Broken // crashed or hung
	NotAsked
)

// String is what reports say.
func (j Judgement) String() string {
	switch j {
	case Passed:
		return "passed"
	case WronglyAccepted:
		return "wrongly accepted"
	case WronglyRejected:
		return "wrongly rejected"
	case Broken:
		return "crashed"
	}
	return "skipped"
}

// Judgement of the result.
func (r *Result) Judgement() Judgement {
	switch {
	case r.Outcome == Skipped:
		return NotAsked
	case r.Outcome == Crashed, r.Outcome == Hung:
		return Broken
	case r.Case.Verdict == vectors.Reject && r.Outcome == Accepted:
		return WronglyAccepted
	case r.Case.Verdict == vectors.Accept && r.Outcome == Rejected:
		return WronglyRejected
	}
	return Passed
}

// Failed reports whether the verifier was wrong.
func (r *Result) Failed() bool {
	j := r.Judgement()
	return j != Passed && j != NotAsked
}
