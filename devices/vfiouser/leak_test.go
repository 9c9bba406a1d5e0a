package vfiouser_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/vfiouser/vfiousertest"
)

// resources are what a connection could leave behind in this process.
type resources struct {
	FDs      int
	Mappings int // of guest RAM
}

func held(t testing.TB) resources {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return resources{len(fds), strings.Count(string(maps), "vfiouser-test-ram")}
}

// checkLeaks compares what the process holds now and when the test is over.
// (Goroutines are TestMain's business.) Call it first.
func checkLeaks(t testing.TB) {
	t.Helper()
	warmUp(t)
	before := held(t)
	t.Cleanup(func() {
		if diff := cmp.Diff(before, held(t)); diff != "" {
			t.Errorf("left behind (-before +after):\n%s", diff)
		}
	})
}

// warmUp makes the runtime open what it keeps, such as its epoll descriptor.
func warmUp(t testing.TB) {
	t.Helper()
	a, b := vfiousertest.Socketpair(t)
	_ = a.Close()
	_ = b.Close()
}
