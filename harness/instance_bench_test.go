package harness_test

import (
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/harness"
)

// BenchmarkLaunch measures from the beginning of a launch to the agent's first
// answer, and to its end, when the drivers have found the Nitro cards. It needs
// virtual machines: go test -run '^$' -bench Launch ./harness
func BenchmarkLaunch(b *testing.B) {
	if testing.Short() {
		b.Skip("VM benchmark: not part of the quick run")
	}
	host := harness.New(b)
	if err := host.Launch(b).Close(); err != nil { // makes the snapshot
		b.Fatal(err)
	}
	for _, bb := range []struct {
		name string
		opts []harness.InstanceOption
	}{
		{"warm", nil},
		{"cold", []harness.InstanceOption{harness.Cold()}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var answered time.Duration
			for b.Loop() {
				i := host.Launch(b, bb.opts...)
				answered += i.Info().Answered
				b.StopTimer()
				if err := i.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(answered.Seconds()/float64(b.N), "s/answer")
		})
	}
}
