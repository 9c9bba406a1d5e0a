package harness_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/nsmtest"
	"github.com/nitrolab/nitrolab/harness"
)

// A guest that is busy or noisy is alive, and is served like any other.
func TestBusyGuest(t *testing.T) {
	vm(t, 1)
	host := harness.New(t)
	enclave := host.RunEnclave(t, harness.AgentEIF(t))
	do := enclave.NSM(t)
	ask := func(t *testing.T) {
		t.Helper()
		if err := nsmtest.Boot()[0].Run(do); err != nil { // GetRandom
			t.Fatal(err)
		}
		enclave.Refuses(t, 6000) // what the watchdog asks
	}

	t.Run("console flood", func(t *testing.T) {
		// A follower that never reads holds nobody up.
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		stuck := enclave.Console().Follow(ctx)
		pid := enclave.Exec(t, "misbehave flood >/dev/console & echo $!")
		enclave.WaitConsole(t, strings.Repeat("flood ", 10))
		for range 5 {
			ask(t)
		}
		// Wait until more has come than is kept, which the follower then missed.
		flood := enclave.Console().Follow(ctx)
		if _, err := io.CopyN(io.Discard, flood, 256<<10); err != nil {
			t.Fatal(err)
		}
		if n := len(enclave.Console().Tail(1 << 30)); n > 64<<10 {
			t.Errorf("%d bytes of the console are kept in memory", n)
		}
		enclave.Exec(t, "kill "+pid)
		if _, err := stuck.Read(make([]byte, 1)); err != nil || stuck.Skipped() == 0 {
			t.Errorf("slow follower: %v, %d bytes skipped", err, stuck.Skipped())
		}
	})

	t.Run("all processors busy", func(t *testing.T) {
		pid := enclave.Exec(t, "misbehave spin >/dev/null 2>&1 & echo $!")
		deadline := time.Now().Add(time.Second)
		for time.Now().Before(deadline) {
			ask(t)
		}
		enclave.Exec(t, "kill "+pid)
	})
	if reason := enclave.Ended(); reason != "" {
		t.Errorf("the enclave ended: %s, %v", reason, enclave.Err())
	}
}
