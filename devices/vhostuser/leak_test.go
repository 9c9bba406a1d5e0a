package vhostuser_test

import (
	"testing"

	"github.com/nitrolab/nitrolab/devices/internal/leaktest"
)

// testRAM is in the names of the memory that tests make.
const testRAM = "vhostuser-test"

func held(t testing.TB) leaktest.Resources {
	t.Helper()
	return leaktest.Held(t, testRAM)
}

// checkLeaks finds what the test leaves behind. Call it first.
func checkLeaks(t testing.TB) {
	t.Helper()
	leaktest.Check(t, testRAM)
}
