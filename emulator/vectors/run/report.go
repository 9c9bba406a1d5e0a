package run

import (
	"time"

	"github.com/nitrolab/nitrolab/emulator/vectors"
)

// A Report is what a verifier made of a corpus.
type Report struct {
	Command  []string
	Protocol Protocol
	Took     time.Duration
	Results  []Result // in the order of the corpus
}

// A Count is how many cases came out which way.
type Count struct {
	Group string // empty for all of them

	Cases           int // asked about or not
	Passed          int
	WronglyAccepted int
	WronglyRejected int
	Crashed         int // or hung
	Skipped         int

	// Strict is how many of the failures, of any kind, are of that level: lenient
	// or narrow, but not known to be dangerous.
	Strict int
}

// Failed is the number of failures.
func (c *Count) Failed() int { return c.WronglyAccepted + c.WronglyRejected + c.Crashed }

func (c *Count) add(r *Result) {
	c.Cases++
	switch r.Judgement() {
	case Passed:
		c.Passed++
	case WronglyAccepted:
		c.WronglyAccepted++
	case WronglyRejected:
		c.WronglyRejected++
	case Broken:
		c.Crashed++
	case NotAsked:
		c.Skipped++
	}
	if r.Failed() && r.Case.Level == vectors.Strict {
		c.Strict++
	}
}

// Groups counts by group, in the order of the corpus.
func (r *Report) Groups() []Count {
	var counts []Count
	place := map[string]int{}
	for i := range r.Results {
		group := r.Results[i].Case.Group
		at, ok := place[group]
		if !ok {
			at = len(counts)
			place[group] = at
			counts = append(counts, Count{Group: group})
		}
		counts[at].add(&r.Results[i])
	}
	return counts
}

// Total counts everything.
func (r *Report) Total() Count {
	var total Count
	for i := range r.Results {
		total.add(&r.Results[i])
	}
	return total
}

// Failures are the cases that came out wrong, in the order of the corpus.
func (r *Report) Failures() []Result {
	var list []Result
	for _, result := range r.Results {
		if result.Failed() {
			list = append(list, result)
		}
	}
	return list
}

// Suspicion is one sentence if the outcome says less about the verifier than
// about how it was called: it gave one answer to everything. Else it is empty.
func (r *Report) Suspicion() string {
	var accepted, rejected, good, bad int
	said := ""
	for _, result := range r.Results {
		switch result.Outcome {
		case Accepted:
			accepted++
		case Rejected:
			rejected++
			if result.Case.Verdict == vectors.Accept && said == "" {
				said = result.Detail
			}
		}
		if result.Outcome != Skipped {
			switch result.Case.Verdict {
			case vectors.Accept:
				good++
			case vectors.Reject:
				bad++
			}
		}
	}
	switch {
	case accepted == 0 && good > 0:
		text := "no document was accepted: does the command find the document, the roots and the time?"
		if said != "" {
			text += " About the first good one it said: " + said
		}
		return text
	case rejected == 0 && bad > 0:
		return "no document was rejected: does the exit status, or the verdict, come from the verifier?"
	}
	return ""
}
