package pid1

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestErrorsAreTheKernels(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "no")
	if _, err := Open(missing); err != unix.ENOENT {
		t.Errorf("Open: %v, want ENOENT", err)
	}
	if err := LoadModule(missing); err != unix.ENOENT {
		t.Errorf("LoadModule: %v, want ENOENT", err)
	}
	if _, err := Start(missing, []string{"no"}, nil); err != unix.ENOENT {
		t.Errorf("Start: %v, want ENOENT", err)
	}
}

// A program is the leader of a session of its own and has the environment given.
func TestStart(t *testing.T) {
	pid, err := Start("/bin/sh", []string{"sh", "-c", `test "$A" = b && exit 3`}, []string{"A=b"})
	if err != nil {
		t.Fatal(err)
	}
	if sid, err := unix.Getsid(pid); err != nil || sid != pid {
		t.Errorf("session of %d is %d, %v", pid, sid, err)
	}
	var ws syscall.WaitStatus
	for {
		if _, err = syscall.Wait4(pid, &ws, 0, nil); err != syscall.EINTR {
			break
		}
	}
	if err != nil || ws.ExitStatus() != 3 {
		t.Errorf("status %d, %v, want 3", ws.ExitStatus(), err)
	}
}

// A signal that would end the process does not, and children still die of it.
func TestCatchSignals(t *testing.T) {
	CatchSignals()
	defer signal.Reset()
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1} {
		if err := unix.Kill(os.Getpid(), s.(syscall.Signal)); err != nil {
			t.Fatal(err)
		}
	}
	pid, err := Start("/bin/sh", []string{"sh", "-c", "kill -TERM $$; exit 0"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var ws syscall.WaitStatus
	for {
		if _, err = syscall.Wait4(pid, &ws, 0, nil); err != syscall.EINTR {
			break
		}
	}
	if err != nil || !ws.Signaled() || ws.Signal() != syscall.SIGTERM {
		t.Errorf("child ended with %v, %v, want SIGTERM", ws, err)
	}
}
