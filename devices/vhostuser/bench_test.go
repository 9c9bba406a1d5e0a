package vhostuser_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/guestmem"
)

// roundTrip returns a function that sends one chain through a running ring and
// waits for its return: one kick, one interrupt, over eventfds.
func roundTrip(tb testing.TB, features uint64) func() {
	tb.Helper()
	f := connect(tb, newEcho(tb, 1), nil)
	q := f.running(1, 64, features)[0]
	f.sync()
	head := q.Prepare([][]byte{[]byte("hello")}, []int{5})
	used := q.Rings().Used
	n := uint16(0)
	var buf [8]byte
	poll := []unix.PollFd{{Fd: int32(q.call.fd), Events: unix.POLLIN}}
	return func() {
		n++
		q.Expose(head)
		if features&(1<<29) != 0 {
			q.SetUsedEvent(n - 1)
		}
		q.kick.set()
		for uint16(guestmem.LoadAcquire(used, 0)>>16) != n {
			if k, err := unix.Poll(poll, 10_000); err != unix.EINTR && (k != 1 || err != nil) {
				tb.Fatal("no interrupt", k, err)
			}
			_, _ = unix.Read(q.call.fd, buf[:])
		}
	}
}

func BenchmarkKick(b *testing.B) {
	for name, features := range map[string]uint64{"legacy": featLegacy, "all": featAll} {
		b.Run(name, func(b *testing.B) {
			f := roundTrip(b, features)
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}

// TestKickDoesNotAllocate counts what both sides allocate for one round trip.
func TestKickDoesNotAllocate(t *testing.T) {
	f := roundTrip(t, featAll)
	if n := testing.AllocsPerRun(500, f); n != 0 {
		t.Errorf("%v allocations per round trip, want none", n)
	}
}
