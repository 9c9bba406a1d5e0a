package qemu

import (
	"bufio"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestHostTSCKHz(t *testing.T) {
	khz, err := HostTSCKHz()
	switch runtime.GOARCH {
	case "amd64":
	case "arm64":
		if err != nil || khz != 1_000_000 {
			t.Errorf("HostTSCKHz() = %d, %v; want nanoseconds", khz, err)
		}
		return
	default:
		if err == nil {
			t.Errorf("HostTSCKHz() = %d where nothing is known", khz)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	// Measuring again must agree within 0.02 %.
	again, err := measureTSC()
	if err != nil || !near(khz, again, 0.0002) {
		t.Errorf("measured %d kHz, then %d, %v", khz, again, err)
	}
	want, ok := bogomipsKHz(t)
	if !ok {
		t.Logf("%d kHz; /proc/cpuinfo has nothing to compare with", khz)
		return
	}
	t.Logf("%d kHz, kernel says %d", khz, want)
	if !near(khz, want, 0.001) {
		t.Errorf("measured %d kHz, the kernel says %d", khz, want)
	}
}

func near(a, b int, tolerance float64) bool {
	return math.Abs(float64(a-b)) <= tolerance*float64(b)
}

// bogomipsKHz is what the kernel took for the counter's frequency: on x86 with a
// TSC it derives loops_per_jiffy from that and not from a loop.
func bogomipsKHz(t *testing.T) (int, bool) {
	t.Helper()
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return 0, false
	}
	defer f.Close()
	constant, khz := false, 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		switch strings.TrimSpace(name) {
		case "flags":
			constant = strings.Contains(value, " constant_tsc")
		case "bogomips":
			if v, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil && khz == 0 {
				khz = int(v * 500)
			}
		}
	}
	return khz, constant && khz > 0
}

func TestCountTicks(t *testing.T) {
	epoch := time.Now()
	got := countTicks(func() uint64 { return 3 * uint64(time.Since(epoch)) })
	if !near(got, 3_000_000, 0.0005) {
		t.Errorf("countTicks() = %d, want 3000000", got)
	}
}
