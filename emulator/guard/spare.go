package guard

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runSpare starts the keeper, outlives it, and does what it left undone.
func runSpare(sp *spec, n int) {
	control := controlFD(n)
	r := newReaper()
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		report{Error: "pipe: " + err.Error()}.send(control)
		return
	}
	files := append(childFiles(n), uintptr(control), uintptr(specFD(n)), uintptr(pipe[0]))
	pid, err := syscall.ForkExec("/proc/self/exe", []string{guardName, roleKeeper}, &syscall.ProcAttr{
		Env:   guardEnviron(roleKeeper, n),
		Files: files,
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		report{Error: "start keeper: " + err.Error()}.send(control)
		return
	}
	_ = unix.Close(pipe[0])
	releaseFiles(n)

	owner := waitHangup(control)
	var patience <-chan time.Time
	for running := true; running; {
		select {
		case <-r.sigchld:
			running = !r.exited(pid)
		case <-owner:
			owner, patience = nil, time.After(keeperTimeout)
		case <-patience:
			running = false
		}
	}
	r.killAll(pid)
	if r.status == 0 {
		return // the keeper did it all
	}
	// Nobody else reads the socket now.
	o := listen(control)
	report{Lost: true}.send(control)
	o.handOver(sp.Remove)
}

// waitHangup is waitEOF without reading: the bytes are the keeper's.
func waitHangup(fd int) <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		fds := []unix.PollFd{{Fd: int32(fd)}}
		for {
			if _, err := unix.Poll(fds, -1); err != unix.EINTR {
				return
			}
		}
	}()
	return gone
}
