package harness

import (
	"errors"
	"testing"

	"github.com/nitrolab/nitrolab/devices/weaken"
)

// An Attack is something a hostile party tries, with the one protection that is
// there to stop it.
type Attack struct {
	// Name is a phrase, such as "debug document passes for production".
	Name string

	// Protection is what has to stop it.
	Protection weaken.Protection

	// Run tries the attack on a system weakened by w. It returns nil if the
	// attack succeeded, and an error that wraps ErrStopped if the system stopped
	// it. Anything else that goes wrong is any other error: an attack that did
	// not get as far as the protection proves nothing.
	Run func(t testing.TB, w weaken.Set) error
}

// ErrStopped is what an [Attack] that was stopped returns.
var ErrStopped = errors.New("attack stopped")

// CounterProof runs the attack twice: against the system as it is, where it has
// to be stopped, and with its one protection off, where it has to succeed. The
// second run is what gives the first its meaning.
func (a Attack) CounterProof(t *testing.T) {
	t.Helper()
	if a.Name == "" || a.Protection == weaken.None || a.Run == nil {
		t.Fatalf("attack %q: Name, Protection and Run are required", a.Name)
	}
	t.Run(a.Name, func(t *testing.T) {
		t.Run("stopped", func(t *testing.T) { a.judge(t, weaken.Set{}) })
		t.Run("succeeds without "+string(a.Protection), func(t *testing.T) { a.judge(t, weaken.Only(a.Protection)) })
	})
}

// judge fails t unless the attack went as w demands.
func (a Attack) judge(t testing.TB, w weaken.Set) {
	t.Helper()
	err := a.Run(t, w)
	weakened := w.Off(a.Protection)
	switch {
	case err != nil && !errors.Is(err, ErrStopped):
		t.Errorf("attack %q did not run: %v", a.Name, err)
	case !weakened && err == nil:
		t.Errorf("attack %q succeeded against %q", a.Name, a.Protection)
	case weakened && err != nil:
		t.Errorf("attack %q was stopped although %q is off, so something else stops it and the run with it on proves nothing: %v", a.Name, a.Protection, err)
	}
}
