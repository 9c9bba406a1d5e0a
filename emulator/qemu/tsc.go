package qemu

import (
	"fmt"
	"sync"
	"time"
)

// Bounds of a believable frequency, kHz.
const (
	minTSCKHz = 100_000
	maxTSCKHz = 20_000_000
)

// HostTSCKHz is the frequency of a TCG guest's time stamp counter in kHz, for
// [TSC]. It is measured once per process, which takes 20 ms.
//
// QEMU answers RDTSC under TCG with the host's own counter where the host is
// x86 (cpu_get_host_ticks, include/qemu/timer.h), so this is the host's
// frequency, in a virtual machine the one its hypervisor shows. It is nowhere to
// be read without privileges: "cpu MHz" of /proc/cpuinfo is the clock of the
// moment, the model name is rounded or silent, CPUID leaf 15h is there on some
// processors only. On arm64, QEMU counts nanoseconds. Other hosts are an error.
//
// The guest measures time by QEMU's virtual clock, which is CLOCK_MONOTONIC, so
// that is what the counter is measured against.
func HostTSCKHz() (int, error) { return hostTSC() }

var hostTSC = sync.OnceValues(func() (int, error) {
	khz, err := measureTSC()
	if err != nil {
		return 0, fmt.Errorf("qemu: time stamp counter: %w", err)
	}
	if khz < minTSCKHz || khz > maxTSCKHz {
		return 0, fmt.Errorf("qemu: time stamp counter: %d kHz was measured, which cannot be", khz)
	}
	return khz, nil
})

const (
	// tscInterval makes an error of 1 µs, which is a lot, one of 50 ppm.
	tscInterval = 20 * time.Millisecond

	// tscTries is how often each end is read. The best try is the one in which
	// reading the clock twice took least: nothing came between.
	tscTries = 64
)

// countTicks measures a counter against the monotonic clock, in ticks per ms.
func countTicks(counter func() uint64) int {
	epoch := time.Now()
	t0, c0 := readTogether(epoch, counter)
	time.Sleep(tscInterval)
	t1, c1 := readTogether(epoch, counter)
	ms := float64(t1-t0) / float64(time.Millisecond)
	return int(float64(c1-c0)/ms + 0.5)
}

// readTogether reads clock and counter at one moment.
func readTogether(epoch time.Time, counter func() uint64) (at time.Duration, ticks uint64) {
	best := time.Duration(1<<63 - 1)
	for range tscTries {
		before := time.Since(epoch)
		c := counter()
		after := time.Since(epoch)
		if width := after - before; width < best {
			best, at, ticks = width, before+width/2, c
		}
	}
	return at, ticks
}
