// Package leaktest finds what a test of a transport leaves behind in this process.
package leaktest

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// Resources are what a connection could leave behind.
type Resources struct {
	FDs      int
	Mappings int // of guest RAM
}

// Held is what the process holds now. Mappings are of memfds whose name has ram in it.
func Held(t testing.TB, ram string) Resources {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return Resources{len(fds), strings.Count(string(maps), ram)}
}

// Check compares what the process holds now and when the test is over. (Goroutines
// are for goleak.) Call it first.
func Check(t testing.TB, ram string) {
	t.Helper()
	WarmUp(t)
	before := Held(t, ram)
	t.Cleanup(func() {
		if diff := cmp.Diff(before, Held(t, ram)); diff != "" {
			t.Errorf("left behind (-before +after):\n%s", diff)
		}
	})
}

// WarmUp makes the runtime open what it keeps, such as its epoll descriptor.
func WarmUp(t testing.TB) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		_ = os.NewFile(uintptr(fd), "warm-up").Close() // takes it into the poller
	}
}
