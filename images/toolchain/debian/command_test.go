package debian

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRunOutputIsBounded(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := run(ctx, command{path: "sh", args: []string{"-c", "yes | cat"}}); !errors.Is(err, errTooMuch) {
		t.Errorf("error %v, want errTooMuch", err)
	}
}

func TestRunFails(t *testing.T) {
	_, err := run(t.Context(), command{path: "sh", args: []string{"-c",
		"echo 'W: careful' >&2; echo 'E: first: Could not resolve x' >&2; echo 'E: Some index files failed to download.' >&2; exit 100"}})
	var failed *ToolError
	if !errors.As(err, &failed) || !errors.Is(err, ErrUnreachable) {
		t.Fatalf("error %v, want a ToolError that is ErrUnreachable", err)
	}
	want := []string{"first: Could not resolve x", "Some index files failed to download.", "careful"}
	if diff := cmp.Diff(want, failed.Messages); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if !strings.Contains(err.Error(), "Could not resolve x") {
		t.Errorf("%q does not say why", err)
	}
}

func TestRunStatus(t *testing.T) {
	var lines []string
	out, err := run(t.Context(), command{path: "sh", args: []string{"-c", "echo a >&3; echo b >&3; echo out; head -c 200000 /dev/zero >&3; echo >&3"},
		line: func(s string) { lines = append(lines, s) }})
	if err != nil || string(out) != "out\n" {
		t.Fatalf("output %q, error %v", out, err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	for in, want := range map[string]float64{"dlstatus:3:41.25:Retrieving file 3 of 90": 41.25, "dlstatus:1:100:x": 100} {
		if got, ok := statusPercent(in); !ok || got != want {
			t.Errorf("%q is %v, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "pmstatus:a:1:b", "dlstatus:1", "dlstatus:1:x:y", "dlstatus:1:NaN:y", "dlstatus:1:101:y", "dlstatus:1:-1:y"} {
		if got, ok := statusPercent(in); ok {
			t.Errorf("%q is taken for %v", in, got)
		}
	}
}

// TestRunEndsAll has a tool that starts another and ignores the interrupt: both
// must be gone when run returns.
func TestRunEndsAll(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := run(ctx, command{path: "sh", args: []string{"-c", "sleep 1000 & echo $! >" + pidFile + "; echo started >&3; wait"},
		line: func(string) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want context.Canceled", err)
	}
	b, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	// It has been sent SIGKILL; init may take a moment to collect it.
	deadline := time.Now().Add(10 * time.Second)
	for syscall.Kill(pid, 0) == nil {
		if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil && strings.Contains(string(stat), ") Z ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d outlives the run", pid)
		}
	}
}
