package harness_test

import (
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/harness"
)

// TestMain fails the package if any goroutine survives its Host.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.Remove(harness.ArtifactsDir) // stays if a test failed
		os.Exit(code)
	}))
}

// maxVMs is how many virtual machines run at a time: two under TCG fill two
// processors, and more only make each other's deadlines shorter.
const maxVMs = 2

// slots hands out the right to run virtual machines.
var slots = struct {
	sync.Mutex // taken while somebody collects its slots, so that two cannot hold half each
	free       chan struct{}
}{free: make(chan struct{}, maxVMs)}

// vm begins a test with real virtual machines, as many at a time as n. It runs
// beside others. There is no other reason to skip it than -short: where no
// machine can be started it fails.
func vm(t *testing.T, n int) {
	t.Helper()
	if testing.Short() {
		t.Skip("VM test: not part of the quick run")
	}
	t.Parallel()
	n = min(n, maxVMs) // more than there are: alone
	slots.Lock()
	defer slots.Unlock()
	for range n {
		slots.free <- struct{}{}
	}
	// Registered first, so the last to run: the machines are gone by then.
	t.Cleanup(func() {
		for range n {
			<-slots.free
		}
	})
}
