package guard

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A reaper collects dead children and kills live ones. One goroutine uses it, and
// no other reaps, so a pid it has seen cannot have changed hands.
type reaper struct {
	sigchld chan os.Signal
	status  syscall.WaitStatus // of the main child, once killAll returned
}

// newReaper makes the process adopt orphaned descendants.
func newReaper() *reaper {
	r := &reaper{sigchld: make(chan os.Signal, 1)}
	signal.Notify(r.sigchld, syscall.SIGCHLD)
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) // fails on no supported kernel
	return r
}

// exited reports whether the main child has ended, and leaves it unreaped, so
// that its process group can still be named. Adopted orphans are reaped.
func (r *reaper) exited(main int) bool {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return true // no children at all
		}
		pid := siginfoPid(&info)
		if pid == 0 {
			return false
		}
		if pid == main {
			return true
		}
		_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
	}
}

// killAll kills the main child's process group and every descendant, and returns
// when all are reaped, or after killTimeout with the pids of the others.
//
// Preconditions: main is not reaped.
func (r *reaper) killAll(main int) (survivors []int) {
	// The group in one call: it may be forking all the time.
	_ = unix.Kill(-main, unix.SIGKILL)
	_ = unix.Kill(main, unix.SIGKILL)
	deadline := time.Now().Add(killTimeout)
	for {
		if !r.reap(main) {
			return nil
		}
		// Children that are left have a group of their own. When they die,
		// their children become ours: the next round finds them.
		kids := childrenOf(os.Getpid())
		for _, pid := range kids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if time.Now().After(deadline) {
			return kids
		}
		select {
		case <-r.sigchld:
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// reap collects what is dead and reports whether any child is left.
func (r *reaper) reap(main int) bool {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return false
		case pid == 0:
			return true
		case pid == main:
			r.status = ws
		}
	}
}
