package harness_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/harness"
)

// What each outcome of an attack means, with its protection on and off.
func TestAttackIsJudged(t *testing.T) {
	const protection = weaken.EnclaveIsolation
	stopped := fmt.Errorf("connect: %w", harness.ErrStopped)
	broken := errors.New("no such file")
	tests := []struct {
		name    string
		outcome error
		weaken  weaken.Set
		says    string // what the failure says; empty if there is none
	}{
		{"stopped", stopped, weaken.Set{}, ""},
		{"succeeds without protection", nil, weaken.Only(protection), ""},
		{"succeeds against protection", nil, weaken.Set{}, `attack "steal" succeeded against "` + string(protection)},
		{"stopped without protection", stopped, weaken.Only(protection), "proves nothing"},
		{"stopped by something else", nil, weaken.Only(weaken.ZeroPCR), `attack "steal" succeeded against`},
		{"did not run", broken, weaken.Set{}, `attack "steal" did not run: no such file`},
		{"did not run without protection", broken, weaken.Only(protection), `attack "steal" did not run: no such file`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got weaken.Set
			attack := harness.Attack{Name: "steal", Protection: protection, Run: func(_ testing.TB, w weaken.Set) error {
				got = w
				return tt.outcome
			}}
			r := record(t, "Test", func(t testing.TB) { attack.Judge(t, tt.weaken) })
			if tt.says == "" {
				r.mustPass(t)
			} else {
				r.mustFail(t, tt.says)
			}
			if got != tt.weaken {
				t.Errorf("the attack was given %q, want %q", got, tt.weaken)
			}
		})
	}
}

// CounterProof runs both halves, and gives each its own weakening.
func TestCounterProof(t *testing.T) {
	var runs []string
	harness.Attack{Name: "steal", Protection: weaken.ZeroPCR, Run: func(t testing.TB, w weaken.Set) error {
		runs = append(runs, w.String())
		if w.Off(weaken.ZeroPCR) {
			return nil
		}
		return harness.ErrStopped
	}}.CounterProof(t)
	want := fmt.Sprint([]string{"", "PROTECTION OFF: " + string(weaken.ZeroPCR)})
	if got := fmt.Sprint(runs); got != want {
		t.Errorf("runs %s, want %s", got, want)
	}
}
