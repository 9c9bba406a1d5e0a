package guard

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// killTimeout is how long SIGKILL may take. A process in uninterruptible
	// sleep takes it only when its device answers.
	killTimeout = 10 * time.Second

	// keeperTimeout is what the spare grants the keeper once the owner is
	// gone. It is over killTimeout and removeTimeout.
	keeperTimeout = 20 * time.Second
)

// runKeeper starts the child and sees to its end.
func runKeeper(sp *spec, n int) {
	control := controlFD(n)
	r := newReaper()
	pid, err := syscall.ForkExec(sp.Path, sp.Args, &syscall.ProcAttr{
		Dir:   sp.Dir,
		Env:   sp.Env,
		Files: childFiles(n),
		Sys:   &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		var errno syscall.Errno
		errors.As(err, &errno)
		report{Error: err.Error(), Errno: int(errno)}.send(control)
		return
	}
	releaseFiles(n)
	report{Pid: pid, Keeper: os.Getpid()}.send(control)

	o := listen(control)
	spare := waitEOF(lifelineFD(n), func([]byte) {})

	lost := false
	for running := true; running; {
		select {
		case <-r.sigchld:
			running = !r.exited(pid)
		case sig := <-o.signals:
			// The child is not reaped yet, so the number is its own.
			_ = unix.Kill(pid, sig)
		case <-o.kill:
			running = false
		case <-o.gone:
			running = false
		case <-spare:
			running, lost = false, true
		}
	}

	survivors := r.killAll(pid)
	report{Ended: true, Status: int(r.status), Survivors: survivors, Lost: lost}.send(control)
	o.handOver(sp.Remove)
}
