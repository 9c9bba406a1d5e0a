package harness

import (
	"testing"

	"github.com/nitrolab/nitrolab/devices/weaken"
)

// Judge is one run of a counter-proof, for tests that need it to fail.
func (a Attack) Judge(t testing.TB, w weaken.Set) { a.judge(t, w) }
