package qemu

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/emulator/guard"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// fakeConfig is a guest in the fake QEMU.
func TestExit(t *testing.T) {
	tests := []struct {
		plot   string
		kind   error
		reason string
		guest  bool
		text   string
	}{
		{"reset", ErrGuestReset, "guest-reset", true, "the guest reset the machine (guest-reset)"},
		{"poweroff", ErrGuestShutdown, "guest-shutdown", true, "the guest powered the machine off (guest-shutdown)"},
		{"panic", ErrGuestPanic, "guest-reset", true, "the guest panicked: [ 1.0] Kernel panic - not syncing: No working init found"},
		{"panic-device", ErrGuestPanic, "guest-panic", true, "the guest panicked (guest-panic)"},
		{"internal", ErrInternal, "internal-error", false, "QEMU stopped the guest (internal-error)"},
		{"crash", ErrCrashed, "", false, "QEMU ended unexpectedly: signal: killed"},
		{"quiet-exit", ErrCrashed, "", false, "QEMU ended unexpectedly: exit status 0: no SHUTDOWN event came"},
		{"sigterm", ErrHost, "host-signal", false, "QEMU was told to end (host-signal)"},
	}
	for _, tt := range tests {
		t.Run(tt.plot, func(t *testing.T) {
			t.Parallel()
			p := startFake(t, tt.plot)
			select {
			case <-p.Done():
			case <-time.After(patience):
				t.Fatal("it does not end")
			}
			e := p.Wait()
			if !errors.Is(e, tt.kind) || e.Reason != tt.reason || e.Guest() != tt.guest || e.Error() != tt.text {
				t.Errorf("exit %q (reason %q, guest %v), want %q (%q, %v)", e, e.Reason, e.Guest(), tt.text, tt.reason, tt.guest)
			}
		})
	}
}

// TestStuckAfterShutdown: a QEMU that says it ends and does not is ended.
func TestStuckAfterShutdown(t *testing.T) {
	t.Setenv(scaleEnv, "0.02") // of 10 s
	cfg := fakeConfig(t, "stuck")
	p, err := Start(within(t), cfg)
	if errors.Is(err, context.DeadlineExceeded) {
		t.Skip("the host is too slow for so short a deadline")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Fatal("it hangs")
	}
	if e := p.Wait(); !errors.Is(e, ErrGuestReset) || e.Status.Signal() != syscall.SIGKILL {
		t.Errorf("exit %v, status %v; want a reset and SIGKILL", e, e.Status)
	}
}

func TestExplain(t *testing.T) {
	const what = "no heartbeat within 180 s"
	tests := []struct {
		plot  string
		ended bool
		boot  bool
		want  string
	}{
		{"panic", true, true, what + ": the guest panicked: [ 1.0] Kernel panic - not syncing: No working init found"},
		{"reset", true, true, what + ": the guest reset the machine"},
		{"crash", true, false, what + ": QEMU ended unexpectedly: signal: killed: qemu: hw/core: Assertion `x' failed."},
		{"internal", true, false, what + ": QEMU stopped the guest (internal-error): KVM internal error. Suberror: 1"},
		{"panic-hang", false, true, what + ": the guest panicked: Kernel panic - not syncing: Attempted to kill init!"},
		{"run", false, true, what + ": the guest still runs"},
		{"silent", false, true, what + ": the guest runs and has printed nothing"},
	}
	for _, tt := range tests {
		t.Run(tt.plot, func(t *testing.T) {
			t.Parallel()
			p := startFake(t, tt.plot)
			switch {
			case tt.ended:
				<-p.Done()
			case tt.plot == "panic-hang":
				<-p.Console().Panicked()
			case tt.plot == "run":
				if err := p.Console().WaitFor(within(t), "Linux version"); err != nil {
					t.Fatal(err)
				}
			}
			err := p.Explain(what)
			if err.Error() != tt.want {
				t.Errorf("Explain() = %q, want %q", err, tt.want)
			}
			var boot *BootError
			var infra *InfraError
			if errors.As(err, &boot) != tt.boot || errors.As(err, &infra) == tt.boot {
				t.Errorf("Explain() = %T, want the guest's fault: %v", err, tt.boot)
			}
			var report, line string
			if tt.boot {
				report, line = boot.Report(), boot.Reproduce
			} else {
				report, line = infra.Report(), infra.Reproduce
			}
			if line == "" || !strings.Contains(report, "to reproduce: "+line+" (kept in ") {
				t.Errorf("report lacks the command line %q:\n%s", line, report)
			}
		})
	}
}

func TestKillAndClose(t *testing.T) {
	p := startFake(t, "run")
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if e := p.Wait(); !errors.Is(e, ErrKilled) || e.Error() != "killed" {
		t.Errorf("exit %v, want %v", e, ErrKilled)
	}
	if err := p.QMP().Execute(within(t), "query-status", nil, nil); err == nil {
		t.Error("the monitor answers after the end")
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestQuit(t *testing.T) {
	p := startFake(t, "run")
	if err := p.QMP().Execute(within(t), "quit", nil, nil); err != nil {
		t.Fatal(err)
	}
	if e := p.Wait(); !errors.Is(e, ErrHost) || e.Reason != "host-qmp-quit" || !e.Status.Success() {
		t.Errorf("exit %v, status %v", e, e.Status)
	}
}

// TestStopOnPurpose: a stop that the caller asked for is no end.
func TestStopOnPurpose(t *testing.T) {
	p := startFake(t, "run")
	for range 3 {
		if err := p.QMP().Execute(within(t), "stop", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	// The supervisor's own question is answered before this one.
	var s struct{ Status string }
	if err := p.QMP().Execute(within(t), "query-status", nil, &s); err != nil || s.Status != "paused" {
		t.Fatalf("status %q, %v", s.Status, err)
	}
	select {
	case <-p.Done():
		t.Errorf("ended with %v", p.Wait())
	default:
	}
}

// TestGuardLost: somebody kills the guard; the process is gone and says so.
func TestGuardLost(t *testing.T) {
	p := startFake(t, "run")
	st, err := os.ReadFile("/proc/" + itoa(p.Pid()) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(st[strings.LastIndexByte(string(st), ')')+1:]))
	keeper := atoi(t, f[1])
	if err := unix.Kill(keeper, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := p.Wait(); !errors.Is(e, guard.ErrLost) || !errors.Is(e, ErrCrashed) {
		t.Errorf("exit %v, want %v", e, guard.ErrLost)
	}
	if err := unix.Kill(p.Pid(), 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("QEMU is alive: %v", err)
	}
}

// TestEnvironment: QEMU must not get our secrets.
// TestFloodingGuest: nobody reads, the guest never waits, memory and file stay
// small, and a slow follower loses the middle.
func TestConclude(t *testing.T) {
	finding := &Finding{Title: "the guest panicked", Line: "x"}
	broken := errors.New("broken")
	tests := []struct {
		name    string
		said    ending
		killed  bool
		err     error
		finding *Finding
		want    error
	}{
		{"killed", ending{}, true, nil, nil, ErrKilled},
		{"killed while it ended", ending{ErrGuestReset, "guest-reset"}, true, nil, nil, ErrGuestReset},
		{"SIGTERM and killed", ending{ErrHost, "host-signal"}, true, nil, nil, ErrKilled},
		{"reset with a finding", ending{ErrGuestReset, "guest-reset"}, false, nil, finding, ErrGuestPanic},
		{"power off with a finding", ending{ErrGuestShutdown, "guest-shutdown"}, false, nil, finding, ErrGuestShutdown},
		{"lost", ending{}, false, broken, nil, broken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := conclude(tt.said, tt.killed, guard.Status{}, tt.err, tt.finding)
			if !errors.Is(e, tt.want) {
				t.Errorf("exit %v, want %v", e, tt.want)
			}
		})
	}
}

func TestShutdownEnding(t *testing.T) {
	tests := []struct {
		data string
		want ending
	}{
		{`{"guest": true, "reason": "guest-reset"}`, ending{ErrGuestReset, "guest-reset"}},
		{`{"guest": false, "reason": "host-signal"}`, ending{ErrHost, "host-signal"}},
		{`{"guest": true, "reason": "something-new"}`, ending{ErrGuestShutdown, "something-new"}},
		{`{"guest": "yes"}`, ending{ErrHost, ""}},
		{`garbage`, ending{ErrHost, ""}},
		{``, ending{ErrHost, ""}},
	}
	for _, tt := range tests {
		got := shutdownEnding([]byte(tt.data))
		if diff := cmp.Diff(tt.want.reason, got.reason); diff != "" || got.kind != tt.want.kind {
			t.Errorf("shutdownEnding(%s) = %v, want %v", tt.data, got, tt.want)
		}
	}
}
