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

// These tests start real supervisor processes; only the guest is a fake.

// bothKinds runs a test with an enclave and with an instance.
func bothKinds(t *testing.T, test func(t *testing.T, kind string, o Order)) {
	for kind, o := range testOrders {
		t.Run(kind, func(t *testing.T) { test(t, kind, o) })
	}
}

// pidOf is the process id of a guest's supervisor.
func pidOf(d Description) int {
	if d.Instance != nil {
		return d.Instance.Info.ProcessID
	}
	return d.Enclave.ProcessID
}

func TestSpawn(t *testing.T) {
	bothKinds(t, func(t *testing.T, kind string, o Order) {
		base := useBase(t)
		t.Setenv(plotEnv, "run")
		var progress []string
		d, err := Spawn(within(t), o, func(s string) { progress = append(progress, s) })
		if err != nil {
			t.Fatal(err)
		}
		if len(progress) != 1 || progress[0] != "plot run" {
			t.Errorf("progress %q", progress)
		}
		if !strings.HasPrefix(d.String(), kind+" i-") {
			t.Errorf("description of %s", d.String())
		}
		pid := pidOf(d)
		if sid, err := sessionOf(pid); err != nil || sid != pid {
			t.Errorf("the supervisor is in session %d, %v; want one of its own, which no Ctrl-C reaches", sid, err)
		}
		running, err := List(within(t), base)
		if err != nil || len(running) != 1 || pidOf(running[0].Description) != pid {
			t.Fatalf("running: %v, %v", running, err)
		}
		if err := running[0].Terminate(within(t)); err != nil {
			t.Fatal(err)
		}
		processEnds(t, pid)
		nothingLeft(t, base)
	})
}

// A session's guest is one as any other, and ends with the session.
func TestSession(t *testing.T) {
	bothKinds(t, func(t *testing.T, kind string, o Order) {
		base := useBase(t)
		t.Setenv(plotEnv, "run")
		ctx, cancel := context.WithCancel(within(t))
		s, err := Start(ctx, o, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		cancel() // bounds the start only
		running, err := List(within(t), base)
		if err != nil || len(running) != 1 || running[0].ID() != s.ID() {
			t.Errorf("running: %v, %v", running, err)
		}
		if d, err := s.Describe(within(t)); err != nil || d.ID() != s.ID() {
			t.Errorf("the session's own client: %v, %v", d, err)
		}
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if list, err := List(within(t), base); err != nil || len(list) > 0 {
			t.Errorf("after Close: %v, %v", list, err)
		}
		nothingLeft(t, base)
	})
}

// The end of a guest during a session is told with its reason.
func TestSessionGuestEnds(t *testing.T) {
	for plot, want := range map[string]string{"panic": "the guest panicked", "leave": ""} {
		t.Run(plot, func(t *testing.T) {
			bothKinds(t, func(t *testing.T, kind string, o Order) {
				base := useBase(t)
				t.Setenv(plotEnv, plot)
				s, err := Start(within(t), o, func(string) {})
				if err != nil {
					t.Fatal(err)
				}
				if c, err := s.Dial(within(t), 7); err == nil { // else it was faster
					c.Close()
				}
				until(t, "the guest's end", func() bool {
					list, err := List(t.Context(), base)
					return err == nil && len(list) == 0
				})
				err = s.Close()
				var guest *GuestError
				if said := errors.As(err, &guest); said != (want != "") || said && guest.Text != want {
					t.Errorf("Close = %v, want %q", err, want)
				}
				nothingLeft(t, base)
			})
		})
	}
}

// A release that comes too late is no success.
func TestReleaseTooLate(t *testing.T) {
	bothKinds(t, func(t *testing.T, kind string, o Order) {
		base := useBase(t)
		t.Setenv(plotEnv, "run")
		s, err := Start(within(t), o, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pidOf(s.Description), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-s.s.drained
		want := "the process that looks after " + s.String() + " has ended (signal: killed)"
		if err := s.Release(); err == nil || err.Error() != want {
			t.Errorf("Release = %v, want %q", err, want)
		}
		nothingLeft(t, base)
	})
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
		{"die", "the process that looks after the KIND ended before the KIND ran (signal: killed)"},
	}
	for _, tt := range tests {
		t.Run(tt.plot, func(t *testing.T) {
			bothKinds(t, func(t *testing.T, kind string, o Order) {
				base := useBase(t)
				t.Setenv(plotEnv, tt.plot)
				_, err := Spawn(within(t), o, func(string) {})
				if want := strings.ReplaceAll(tt.want, "KIND", kind); err == nil || err.Error() != want {
					t.Errorf("Spawn = %v, want %q", err, want)
				}
				var guest *GuestError
				if said := tt.plot != "die"; errors.As(err, &guest) != said {
					t.Errorf("error %T; the supervisor's own words: %v", err, said)
				}
				nothingLeft(t, base)
			})
		})
	}
}

func TestSpawnCancelled(t *testing.T) {
	for _, plot := range []string{"silent", "late"} {
		t.Run(plot, func(t *testing.T) {
			bothKinds(t, func(t *testing.T, kind string, o Order) {
				base := useBase(t)
				t.Setenv(plotEnv, plot)
				ctx, cancel := context.WithCancel(within(t))
				_, err := Spawn(ctx, o, func(string) { cancel() })
				if !errors.Is(err, context.Canceled) {
					t.Errorf("Spawn = %v, want the context's error", err)
				}
				nothingLeft(t, base)
			})
		})
	}
	t.Run("before", func(t *testing.T) {
		base := useBase(t)
		t.Setenv(plotEnv, "run")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Spawn(ctx, Order{Enclave: &testConfig}, func(string) {}); !errors.Is(err, context.Canceled) {
			t.Errorf("Spawn = %v, want the context's error", err)
		}
		nothingLeft(t, base)
	})
}

// kill -9 of the caller ends the supervisor: before the guest runs, and during a
// session.
func TestCallerKilled(t *testing.T) {
	for plot, running := range map[string]int{"silent": 0, "run": 1} {
		t.Run(plot, func(t *testing.T) {
			bothKinds(t, func(t *testing.T, kind string, _ Order) {
				base := useBase(t)
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), callerEnv+"="+kind, plotEnv+"="+plot)
				stdin, err := cmd.StdinPipe() // which never ends
				if err != nil {
					t.Fatal(err)
				}
				defer stdin.Close()
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				until(t, "the supervisor's start", func() bool {
					dirs, err := filepath.Glob(filepath.Join(base, "*.state"))
					list, listErr := List(t.Context(), base)
					return err == nil && len(dirs) == 1 && listErr == nil && len(list) == running
				})
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				_ = cmd.Wait() // killed
				nothingLeft(t, base)
			})
		})
	}
}

// kill -9 of the supervisor leaves nothing, and its CID and name are free.
func TestSupervisorKilled(t *testing.T) {
	base := useBase(t)
	t.Setenv(plotEnv, "run")
	for range 2 {
		d, err := Spawn(within(t), Order{Enclave: &testConfig}, func(string) {})
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
	d, err := Spawn(within(t), Order{Enclave: &testConfig}, func(string) {})
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
		d, err := Spawn(within(t), Order{Enclave: &testConfig}, func(string) {})
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
	d, err := Spawn(within(t), Order{Enclave: &cfg}, func(string) {})
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
