package emulator

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"
)

// What a probe may come to, and what the watchdog makes of it.
func TestIsSilent(t *testing.T) {
	const limit = 50 * time.Millisecond
	wait := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	tests := []struct {
		name  string
		probe func(ctx context.Context) error
		want  bool
	}{
		{"refuses", func(context.Context) error { return syscall.ECONNREFUSED }, false},
		{"resets", func(context.Context) error { return syscall.ECONNRESET }, false},
		{"accepts", func(context.Context) error { return nil }, false},
		{"does not answer", wait, true},
		// Nothing can be said of the guest: no sign of life for the whole limit.
		{"cannot be asked", func(context.Context) error { return syscall.ENOBUFS }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if !tt.want {
				// Alive for several limits is alive.
				ctx, cancel = context.WithTimeout(ctx, 4*limit)
				defer cancel()
			}
			began := time.Now()
			got := isSilent(ctx, limit, tt.probe)
			took := time.Since(began)
			if got != tt.want {
				t.Fatalf("silent: %v after %v, want %v", got, took, tt.want)
			}
			if got && took < limit {
				t.Errorf("silent after %v, want %v at least", took, limit)
			}
		})
	}
}

// One failure between answers is none, and an answer begins a new limit.
func TestIsSilentRecovers(t *testing.T) {
	const limit = 200 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	probes := 0
	silent := isSilent(ctx, limit, func(ctx context.Context) error {
		probes++
		switch {
		case probes == 20:
			cancel()
			return ctx.Err()
		case probes%2 == 0:
			return errors.New("any")
		}
		return syscall.ECONNREFUSED
	})
	if silent || probes != 20 {
		t.Errorf("silent: %v after %d probes, want a guest that lives for 20", silent, probes)
	}
}

// A process that was stopped for longer than the limit, a debugger's breakpoint
// for instance, finds one probe overdue, and that is no proof.
func TestIsSilentAfterStop(t *testing.T) {
	const limit = 30 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	probes := 0
	silent := isSilent(ctx, limit, func(ctx context.Context) error {
		switch probes++; probes {
		case 1:
			<-time.After(3 * limit) // stopped
			return context.DeadlineExceeded
		case 5:
			cancel()
		}
		return syscall.ECONNREFUSED
	})
	if silent {
		t.Error("hung, because the watchdog itself was stopped")
	}
}
