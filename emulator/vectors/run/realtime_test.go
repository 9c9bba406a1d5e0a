package run_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/emulator/vectors"
	"github.com/nitrolab/nitrolab/emulator/vectors/run"
	"github.com/nitrolab/nitrolab/emulator/vectors/run/protocol"
)

var testSeed = []byte("0123456789abcdef0123456789abcdef")

// Documents are about now, stay so while the clock goes on, and have the same
// verdicts as in the corpus that does not.
func TestRealTime(t *testing.T) {
	now := time.Date(2027, 3, 4, 5, 6, 7, 891_000_000, time.UTC)
	source, err := run.RealTime(testSeed, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	fixed, err := vectors.Generate(testSeed)
	if err != nil {
		t.Fatal(err)
	}
	if len(source.Cases()) != len(fixed.Cases) {
		t.Fatalf("%d cases, want %d", len(source.Cases()), len(fixed.Cases))
	}
	// Each time that cases are about costs the making of a corpus: a few will do.
	times := map[time.Duration]bool{}
	few := func(of vectors.Case) bool {
		offset := of.Time.Sub(fixed.Reference)
		if len(times) < 3 {
			times[offset] = true
		}
		return times[offset]
	}
	asked, clock, verdicts := 0, 0, map[vectors.Verdict]int{}
	for _, pass := range []time.Duration{0, 20 * time.Second, 40 * time.Second} {
		now = now.Add(pass)
		for i, of := range fixed.Cases {
			// Once through all of them, then some.
			if pass != 0 && (i%20 != 0 || !fixed.RealTime(of)) || !few(of) {
				continue
			}
			corpus, c, err := source.Fresh(i)
			var skip *run.SkipError
			if errors.As(err, &skip) {
				if fixed.RealTime(of) && !strings.Contains(err.Error(), "changes within") {
					t.Errorf("%s: skipped: %v", of.ID, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", of.ID, err)
			}
			if c.ID != of.ID || c.Verdict != of.Verdict {
				t.Fatalf("case %d is %s, %s; want %s, %s", i, c.ID, c.Verdict, of.ID, of.Verdict)
			}
			// A year is not always as long as the last one.
			if ago := now.Sub(c.Time); ago < 0 || ago > 32*time.Second && ago < 24*time.Hour {
				t.Errorf("%s: its time is %v ago", c.ID, ago)
			}
			asked++
			verdicts[c.Verdict]++
			if !fixed.RealTime(of) {
				clock++
			}
			if c.Verdict == vectors.Either {
				continue
			}
			q := protocol.RequestOf(1, corpus, c)
			q.Time = now
			if err := protocol.Verify(q); (err == nil) != (c.Verdict == vectors.Accept) {
				t.Errorf("%s: verdict is %v, want %s", c.ID, err, c.Verdict)
			}
		}
	}
	t.Logf("%d of %d cases, %d of them about the clock, %v", asked, len(fixed.Cases), clock, verdicts)
	if asked < len(fixed.Cases)/2 || verdicts[vectors.Accept] == 0 || verdicts[vectors.Reject] == 0 || clock == 0 {
		t.Errorf("too few")
	}
}

// A clock outside the years of certificates is the caller's mistake.
func TestRealTimeClock(t *testing.T) {
	if _, err := run.RealTime(testSeed, func() time.Time { return time.Unix(0, 0) }); err == nil {
		t.Error("made a corpus for 1970")
	}
}

// This project's own verifier is right about everything, by way of a process too.
func TestOwnVerifier(t *testing.T) {
	corpus, err := vectors.Generate(testSeed)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(obeyEnv, "own")
	cfg := configOf(t, run.JSONL)
	t.Setenv(obeyEnv, "own")
	cfg.Source = run.Fixed(corpus)
	r := must(t, cfg)
	for _, f := range r.Failures() {
		t.Errorf("%s: %s, want %s: %s", f.Case.ID, f.Outcome, f.Case.Verdict, f.Detail)
	}
	if slices.Contains(outcomes(r), run.Skipped) || len(r.Results) != len(corpus.Cases) {
		t.Error("cases were left out")
	}
	t.Logf("%d cases in %v", len(r.Results), r.Took)
}
