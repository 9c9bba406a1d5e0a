package supervisor

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// These tests start real supervisor processes; only the enclave is a fake.

func TestSpawn(t *testing.T) {
	base := useBase(t)
	t.Setenv(plotEnv, "run")
	var progress []string
	d, err := Spawn(within(t), Order{Enclave: testConfig}, func(s string) { progress = append(progress, s) })
	if err != nil {
		t.Fatal(err)
	}
	if len(progress) != 1 || progress[0] != "plot run" {
		t.Errorf("progress %q", progress)
	}
	pid := d.Enclave.ProcessID
	if sid, err := sessionOf(pid); err != nil || sid != pid {
		t.Errorf("the supervisor is in session %d, %v; want one of its own, which no Ctrl-C reaches", sid, err)
	}
	running, err := List(within(t), base)
	if err != nil || len(running) != 1 || running[0].Enclave.ProcessID != pid {
		t.Fatalf("running: %v, %v", running, err)
	}
	if err := running[0].Terminate(within(t)); err != nil {
		t.Fatal(err)
	}
	processEnds(t, pid)
	nothingLeft(t, base)
}

// sessionOf is the session of a process.
func sessionOf(pid int) (int, error) {
	sid, _, errno := syscall.Syscall(syscall.SYS_GETSID, uintptr(pid), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(sid), nil
}

// processEnds waits for the end of a process that Spawn released: it is our
// child, and ours to reap.
func processEnds(t *testing.T, pid int) {
	t.Helper()
	until(t, "the end of the supervisor", func() bool {
		got, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		return got == pid || errors.Is(err, syscall.ECHILD)
	})
}

func TestSpawnFails(t *testing.T) {
	tests := []struct{ plot, want string }{
		{"fail", "no QEMU here"},
		{"end", "the guest panicked"},
		{"die", "the process that looks after the enclave ended before the enclave ran (signal: killed)"},
	}
	for _, tt := range tests {
		t.Run(tt.plot, func(t *testing.T) {
			base := useBase(t)
			t.Setenv(plotEnv, tt.plot)
			_, err := Spawn(within(t), Order{Enclave: testConfig}, func(string) {})
			if err == nil || err.Error() != tt.want {
				t.Errorf("Spawn = %v, want %q", err, tt.want)
			}
			var start *StartError
			if said := tt.plot != "die"; errors.As(err, &start) != said {
				t.Errorf("error %T; the supervisor's own words: %v", err, said)
			}
			nothingLeft(t, base)
		})
	}
}

func TestSpawnCancelled(t *testing.T) {
	for _, plot := range []string{"silent", "late"} {
		t.Run(plot, func(t *testing.T) {
			base := useBase(t)
			t.Setenv(plotEnv, plot)
			ctx, cancel := context.WithCancel(within(t))
			_, err := Spawn(ctx, Order{Enclave: testConfig}, func(string) { cancel() })
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Spawn = %v, want the context's error", err)
			}
			nothingLeft(t, base)
		})
	}
	t.Run("before", func(t *testing.T) {
		base := useBase(t)
		t.Setenv(plotEnv, "run")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Spawn(ctx, Order{Enclave: testConfig}, func(string) {}); !errors.Is(err, context.Canceled) {
			t.Errorf("Spawn = %v, want the context's error", err)
		}
		nothingLeft(t, base)
	})
}

// kill -9 of the caller before the enclave runs ends the supervisor.
func TestSpawnCallerKilled(t *testing.T) {
	base := useBase(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), callerEnv+"=1", plotEnv+"=silent")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "the supervisor's start", func() bool {
		dirs, err := filepath.Glob(filepath.Join(base, "*.state"))
		return err == nil && len(dirs) == 1
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	nothingLeft(t, base)
}

// kill -9 of the supervisor leaves nothing, and its CID and name are free.
func TestSupervisorKilled(t *testing.T) {
	base := useBase(t)
	t.Setenv(plotEnv, "run")
	for range 2 {
		d, err := Spawn(within(t), Order{Enclave: testConfig}, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		if d.Enclave.EnclaveCID != 16 || d.Enclave.EnclaveName != "app" {
			t.Errorf("CID %d, name %q", d.Enclave.EnclaveCID, d.Enclave.EnclaveName)
		}
		if err := syscall.Kill(d.Enclave.ProcessID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		processEnds(t, d.Enclave.ProcessID)
		nothingLeft(t, base)
		if running, err := List(within(t), base); err != nil || len(running) > 0 {
			t.Errorf("running: %v, %v", running, err)
		}
	}
}

// What a supervisor has to say after its release reaches nobody, and does it no
// harm: once, the log line of a refused forward was the end of an enclave.
func TestSupervisorSpeaksTooLate(t *testing.T) {
	useBase(t)
	t.Setenv(plotEnv, "chatter")
	d, err := Spawn(within(t), Order{Enclave: testConfig}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	base, err := BaseDir()
	if err != nil {
		t.Fatal(err)
	}
	for range 20 { // it lives for a while
		if _, err := Find(within(t), base, d.Enclave.EnclaveID, ""); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Find(within(t), base, d.Enclave.EnclaveID, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Terminate(within(t)); err != nil {
		t.Error(err)
	}
	processEnds(t, d.Enclave.ProcessID)
}

// A supervisor that is stopped does not hide the others.
func TestListWithOneStopped(t *testing.T) {
	base := useBase(t)
	t.Setenv(plotEnv, "run")
	var pids []int
	for range 2 {
		d, err := Spawn(within(t), Order{Enclave: testConfig}, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, d.Enclave.ProcessID)
		defer processEnds(t, d.Enclave.ProcessID)
		defer func() { _ = syscall.Kill(d.Enclave.ProcessID, syscall.SIGKILL) }()
	}
	if err := syscall.Kill(pids[0], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	threads := filepath.Join("/proc", strconv.Itoa(pids[0]), "task", "*", "stat")
	until(t, "the stop of every thread", func() bool {
		files, err := filepath.Glob(threads)
		if err != nil || len(files) == 0 {
			return false
		}
		for _, f := range files {
			if stat, err := os.ReadFile(f); err != nil || !bytes.Contains(stat, []byte(") T ")) {
				return false
			}
		}
		return true
	})
	list, err := list(within(t), base, 2*time.Second)
	if len(list) != 1 || list[0].Enclave.ProcessID != pids[1] {
		t.Errorf("list %v, want the one that answers", list)
	}
	if err == nil || !strings.Contains(err.Error(), socketName) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v, want one line that names the socket of the other", err)
	}
	// The end of the caller's own context is another matter.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := List(ctx, base); !errors.Is(err, context.Canceled) {
		t.Errorf("List = %v", err)
	}
}

func TestOrderSurvivesTheWay(t *testing.T) {
	// Enough to fill any pipe.
	base := useBase(t)
	t.Setenv(plotEnv, "run")
	cfg := testConfig
	cfg.EIFPath = "/" + strings.Repeat("x", 200<<10) + "/app.eif"
	d, err := Spawn(within(t), Order{Enclave: cfg}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if d.EIFPath != cfg.EIFPath {
		t.Errorf("path of %d bytes, want %d", len(d.EIFPath), len(cfg.EIFPath))
	}
	r, err := Find(within(t), base, d.Enclave.EnclaveID, "")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal([]byte(r.EIFPath), []byte(cfg.EIFPath)) {
		t.Error("another path in the list")
	}
	if err := r.Terminate(within(t)); err != nil {
		t.Error(err)
	}
	processEnds(t, d.Enclave.ProcessID)
}
