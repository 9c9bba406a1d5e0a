package harness_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/harness"
)

// A bad option fails the test before anything starts, and says which.
func TestBadOptions(t *testing.T) {
	bad := errors.New("speed is 9; allowed are 1 to 3")
	tests := []struct {
		name string
		test func(t testing.TB)
		says string
	}{
		{"of a host", func(t testing.TB) {
			harness.New(t, nil, func(*emulator.Config) error { return bad })
		}, "harness: option: speed is 9; allowed are 1 to 3"},
		{"of an enclave", func(t testing.TB) {
			fakeHost(t).RunEnclave(t, "none.eif", nil, func(*emulator.EnclaveConfig) error { return bad })
		}, "harness: option: speed is 9; allowed are 1 to 3"},
		{"boot timeout 0", func(t testing.TB) {
			fakeHost(t).RunEnclave(t, "none.eif", harness.BootTimeout(0))
		}, "harness: option: boot timeout is 0s; allowed are positive ones"},
		{"boot timeout negative", func(t testing.TB) {
			fakeHost(t).RunEnclave(t, "none.eif", harness.BootTimeout(-time.Second))
		}, "harness: option: boot timeout is -1s; allowed are positive ones"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { record(t, "Test", tt.test).mustFail(t, tt.says) })
	}
}
