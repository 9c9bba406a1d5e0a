package harness_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/harness"
)

// Debug mode as hardware has it: nothing vouches for the image any more, the
// parent's PCRs stay, and the console is open.
func TestDebugMode(t *testing.T) {
	vm(t, 1)
	host := harness.New(t, harness.Role(testRole))
	enclave := host.RunEnclave(t, harness.SampleEIF(t), harness.Debug())
	if flags := enclave.Info().Flags; flags != "DEBUG_MODE" {
		t.Errorf("flags are %s", flags)
	}
	nonce := []byte("debug")
	raw := enclave.Ask(t, nonce)
	doc, err := attestation.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	zero := make([]byte, 48)
	want := map[uint][]byte{0: zero, 1: zero, 2: zero, 3: extended(testRole), 4: extended(host.InstanceID()), 8: zero}
	for pcr, value := range want {
		if !bytes.Equal(doc.PCRs[pcr], value) {
			t.Errorf("PCR%d is %x, want %x", pcr, doc.PCRs[pcr], value)
		}
	}
	if bytes.Equal(zero, extended(testRole)) {
		t.Error("PCR3 could not be told from zero")
	}

	// The measurements of its image, which nitro-cli prints, do not change; no
	// verifier that expects them accepts the document.
	if m := enclave.Measurements(); m.PCR0 == [48]byte{} {
		t.Error("the measurements of the image are zero")
	}
	if _, err := host.Verify(raw, enclave.Policy(nonce)); !errors.Is(err, attestation.ErrDebug) || !errors.Is(err, attestation.ErrPCR) {
		t.Errorf("verified as in production: %v, want ErrDebug and ErrPCR", err)
	}

	// A verifier that pins who runs the enclave, not what runs in it, has the
	// check for zeros alone between it and a debug enclave.
	harness.Attack{
		Name:       "debug enclave passes for one in production",
		Protection: weaken.ZeroPCR,
		Run: func(_ testing.TB, w weaken.Set) error {
			_, err := host.Verify(raw, attestation.Options{
				Nonce:  nonce,
				PCRs:   map[uint][]byte{3: want[3], 4: want[4]},
				Weaken: w,
			})
			if errors.Is(err, attestation.ErrDebug) {
				return fmt.Errorf("%w: %w", harness.ErrStopped, err)
			}
			return err
		},
	}.CounterProof(t)

	t.Run("console", func(t *testing.T) {
		var console bytes.Buffer
		if err := enclave.CopyConsole(t.Context(), &console, false); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(console.String(), "attest: listening on vsock port 5005") {
			t.Errorf("console lacks the application's words:\n%s", console.String())
		}
		// Followed, it ends with the enclave.
		copied := make(chan error, 1)
		var followed bytes.Buffer
		ctx, cancel := context.WithTimeout(context.Background(), host.Timeout(20*time.Second))
		defer cancel()
		go func() { copied <- enclave.CopyConsole(ctx, &followed, true) }()
		if err := enclave.Terminate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-copied; err != nil || !strings.HasPrefix(followed.String(), console.String()) {
			t.Errorf("followed console: %v,\n%s", err, followed.String())
		}
	})
}

// In production mode the parent gets nothing of the console, whether the enclave
// runs or has ended.
func TestNoConsoleInProduction(t *testing.T) {
	vm(t, 1)
	host := harness.New(t)
	enclave := host.RunEnclave(t, harness.MisbehavingEIF(t, "sleep"))
	if flags := enclave.Info().Flags; flags != "NONE" {
		t.Errorf("flags are %s", flags)
	}
	refused := func() {
		t.Helper()
		for _, follow := range []bool{false, true} {
			var console bytes.Buffer
			ctx, cancel := context.WithTimeout(t.Context(), host.Timeout(5*time.Second))
			err := enclave.CopyConsole(ctx, &console, follow)
			cancel()
			if !errors.Is(err, emulator.ErrNoConsole) || console.Len() != 0 {
				t.Errorf("CopyConsole: %v with %d bytes, want ErrNoConsole", err, console.Len())
			}
		}
	}
	refused()
	// The operator of the Host can always look, else there were no artifacts.
	enclave.WaitConsole(t, "Linux version")
	if err := enclave.Terminate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if reason := enclave.WaitEnd(t); reason != emulator.EndTerminated || enclave.Err() != nil {
		t.Errorf("ended by %s, %v; want terminated", reason, enclave.Err())
	}
	refused()
}
