// Package pid1 is what the first processes of nitrolab's guests have in common: of
// an enclave (guest/boot) and of a parent instance (guest/instance). Functions make
// the system calls they are named after and return the kernel's errors as they are,
// which the callers compare.
package pid1

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// CatchSignals has signals delivered to nobody. A C init blocks them; Go's runtime
// would end the process by the first one, such as the SIGTERM that busybox's
// reboot sends to PID 1, and the kernel with it. Ignoring is no way either,
// because children inherit it.
func CatchSignals() { signal.Notify(make(chan os.Signal, 1)) }

// Open opens a file for reading, and again after a signal: the Go runtime
// interrupts its own threads to preempt them.
func Open(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// OpenConsole replaces the three standard descriptors by /dev/console. The kernel
// leaves them closed if there was no such file before devtmpfs.
func OpenConsole() error {
	fd, err := unix.Open("/dev/console", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	for std := range 3 {
		if fd == std {
			continue
		}
		if err := unix.Dup3(fd, std, 0); err != nil {
			return err
		}
	}
	if fd > 2 {
		return unix.Close(fd)
	}
	return nil
}

// LoadModule loads a kernel module.
func LoadModule(path string) error {
	fd, err := Open(path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.FinitModule(fd, "", 0)
}

// LoopbackUp brings up the interface lo, to which the kernel then gives its
// addresses.
func LoopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// Start starts the program at path in a session of its own with the caller's three
// standard descriptors. Signals need no unblocking: the Go runtime blocks none in
// children.
func Start(path string, argv, env []string) (pid int, err error) {
	return syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env:   env,
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}

// Log writes a line to the console, in one piece so that it is not torn by kernel
// messages.
func Log(line string) { unix.Write(2, []byte("init: "+line+"\n")) }
