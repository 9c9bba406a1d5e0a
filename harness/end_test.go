package harness_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/harness"
)

// The ways an enclave that ran can end by itself.
func TestEnds(t *testing.T) {
	vm(t, 1)
	tests := []struct {
		name    string
		args    []string // of misbehave
		opts    []harness.EnclaveOption
		want    emulator.EndReason
		title   string // of the BootError; empty for an end that is no error
		finding string
		console string
	}{
		{
			name: "application exits", args: []string{"exit", "0"},
			want: emulator.EndReset, console: "init: application ended: status 0",
		}, {
			name: "application fails", args: []string{"exit", "3"},
			want: emulator.EndReset, console: "init: application ended: status 3",
		}, {
			name: "reset", args: []string{"reset"},
			want: emulator.EndReset, console: "reboot: machine restart",
		}, {
			name: "panic", args: []string{"panic"},
			want: emulator.EndPanic, console: "sysrq: Trigger a crash",
			title: "the enclave ended: the guest panicked", finding: "Kernel panic - not syncing: sysrq triggered crash",
		}, {
			// All processors stopped, with interrupts off: nothing but silence
			// tells.
			name: "hang", args: []string{"halt"}, opts: []harness.EnclaveOption{harness.HangTimeout(2 * time.Second)},
			want: emulator.EndHung, console: "reboot: System halted",
			title: "the kernel of the enclave has not answered on vsock for ",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host := harness.New(t)
			enclave := host.RunEnclave(t, harness.MisbehavingEIF(t, tt.args...), tt.opts...)
			pid := enclave.PID()
			if reason := enclave.WaitEnd(t); reason != tt.want {
				t.Errorf("ended by %s (%v), want %s", reason, enclave.Err(), tt.want)
			}
			if console := string(enclave.Console().Tail(64 << 10)); !strings.Contains(console, tt.console) {
				t.Errorf("console lacks %q:\n%s", tt.console, console)
			}
			if tt.title == "" {
				if err := enclave.Err(); err != nil {
					t.Errorf("the end is an error: %v", err)
				}
			} else {
				boot := mustBootError(t, enclave.Err())
				if !strings.HasPrefix(boot.Title, tt.title) {
					t.Errorf("title is %q, want %q", boot.Title, tt.title)
				}
				if tt.finding != "" && (boot.Finding == nil || !strings.Contains(boot.Finding.Line, tt.finding)) {
					t.Errorf("finding is %v, want %q", boot.Finding, tt.finding)
				}
			}
			if alive(pid) {
				t.Errorf("QEMU, process %d, is left", pid)
			}
			if state := enclave.Info().State; state != emulator.Terminated {
				t.Errorf("state is %s", state)
			}
			mustBeGone(t, host, enclave)
		})
	}
}

// mustBeGone checks that an enclave that has ended is nobody's any more: not
// listed, not reachable, its CID free.
func mustBeGone(t *testing.T, host *harness.Host, enclave *harness.Enclave) {
	t.Helper()
	if list := host.Enclaves(); len(list) != 0 {
		t.Errorf("%d enclaves are listed", len(list))
	}
	ctx, cancel := context.WithTimeout(t.Context(), host.Timeout(10*time.Second))
	defer cancel()
	if _, err := enclave.Enclave.Dial(ctx, 5005); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("dial: %v, want no route", err)
	}
}

// QEMU that is killed is nobody's fault who wrote the guest.
func TestQEMUKilled(t *testing.T) {
	vm(t, 1)
	host := harness.New(t)
	tests := []struct {
		name   string
		signal syscall.Signal
		kind   error
	}{
		{"SIGKILL", syscall.SIGKILL, qemu.ErrCrashed},
		{"SIGTERM", syscall.SIGTERM, qemu.ErrHost},
	}
	image := harness.SampleEIF(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			enclave := host.RunEnclave(t, image, harness.CID(77))
			c := enclave.Dial(t, 5005)
			if err := syscall.Kill(enclave.PID(), tt.signal); err != nil {
				t.Fatal(err)
			}
			if reason := enclave.WaitEnd(t); reason != emulator.EndFailure {
				t.Errorf("ended by %s", reason)
			}
			var infra *qemu.InfraError
			if err := enclave.Err(); !errors.As(err, &infra) || !errors.Is(err, tt.kind) {
				t.Errorf("error is %T (%v), want an InfraError with %v", err, err, tt.kind)
			}
			// Who talks to it is told, rather than left waiting.
			if err := c.SetReadDeadline(time.Now().Add(host.Timeout(10 * time.Second))); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read of an open connection: %v, want a reset", err)
			}
			mustBeGone(t, host, enclave)
		})
	}
}
