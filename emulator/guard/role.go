package guard

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A process is a guard if its argv[0] is guardName and its environment has
// guardEnv: role, a colon, and the number of files that are the child's. No
// child inherits guardEnv.
const (
	guardName = "nitrolab-guard"
	guardEnv  = "NITROLAB_GUARD"
)

const (
	roleSpare  = "spare"
	roleKeeper = "keeper"
	roleDir    = "dir"
)

// Where a guard finds its own descriptors: behind standard input, output, error
// and the child's n files.
func controlFD(n int) int  { return 3 + n } // the owner's socket
func specFD(n int) int     { return 4 + n }
func lifelineFD(n int) int { return 5 + n } // keeper only: ends with the spare

func init() {
	if len(os.Args) == 0 || os.Args[0] != guardName {
		return
	}
	role, files, ok := strings.Cut(os.Getenv(guardEnv), ":")
	if !ok {
		return
	}
	n, err := strconv.Atoi(files)
	if err != nil || n < 0 {
		return
	}
	// Children are forked from this thread, and their death signal hangs on
	// it. During init it is the process's main thread.
	runtime.LockOSThread()
	runRole(role, n)
	syscall.Exit(0) // os.Exit would run what the owner's packages hooked in
}

func runRole(role string, n int) {
	// Nothing but the child's own files may leak into it, be it ours or some
	// descriptor the owner inherited. Kernels before 5.11 cannot do this.
	_ = unix.CloseRange(uint(controlFD(n)), ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC)
	for fd := controlFD(n); fd <= lifelineFD(n); fd++ {
		unix.CloseOnExec(fd)
	}
	survive()
	sp, err := readSpec(specFD(n))
	if err != nil {
		report{Error: fmt.Sprintf("read spec: %v", err)}.send(controlFD(n))
		return
	}
	switch role {
	case roleSpare:
		runSpare(sp, n)
	case roleKeeper:
		runKeeper(sp, n)
	case roleDir:
		runDir(sp, n)
	}
}

// survive makes signals that end processes by default do nothing. They are
// caught rather than ignored, because an ignored signal stays ignored in the
// child, and a caught one does not.
func survive() {
	signal.Notify(make(chan os.Signal, 1),
		syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGTSTP,
		syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGPIPE)
}

// childFiles lists descriptors 0 to 2+n, for a child that gets the same numbers.
func childFiles(n int) []uintptr {
	fds := make([]uintptr, 3+n)
	for i := range fds {
		fds[i] = uintptr(i)
	}
	return fds
}

// releaseFiles gives up the child's files once it has them, so that whoever
// holds their other ends sees the child's end and not ours.
func releaseFiles(n int) {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	for fd := range 3 + n {
		if fd < 3 && err == nil {
			_ = unix.Dup3(null, fd, unix.O_CLOEXEC)
			continue
		}
		if fd != null {
			_ = unix.Close(fd)
		}
	}
}

// waitEOF returns a channel that is closed when nobody holds fd's other end any
// more. The bytes that come before are given to got, one read at a time.
func waitEOF(fd int, got func([]byte)) <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		buf := make([]byte, 64)
		for {
			n, err := unix.Read(fd, buf)
			switch {
			case err == unix.EINTR:
			case n > 0:
				got(buf[:n])
			default:
				return
			}
		}
	}()
	return gone
}
