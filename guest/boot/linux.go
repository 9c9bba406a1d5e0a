package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// linux is the real system.
type linux struct{}

// CatchSignals has signals delivered to nobody. The stock init blocks them; Go's
// runtime would end the process by the first one, such as the SIGTERM that
// busybox's reboot sends to PID 1, and the kernel with it. Ignoring is no way
// either, because children inherit it.
func (linux) CatchSignals() { signal.Notify(make(chan os.Signal, 1)) }

func (linux) Mount(source, target, fstype string, flags uintptr, data string) error {
	return unix.Mount(source, target, fstype, flags, data)
}
func (linux) Mkdir(path string, mode uint32) error { return unix.Mkdir(path, mode) }
func (linux) Symlink(target, path string) error    { return unix.Symlink(target, path) }
func (linux) Unlink(path string) error             { return unix.Unlink(path) }
func (linux) Chdir(path string) error              { return unix.Chdir(path) }
func (linux) Chroot(path string) error             { return unix.Chroot(path) }
func (linux) SetHostname(name string) error        { return unix.Sethostname([]byte(name)) }
func (linux) Sync()                                { unix.Sync() }
func (linux) Reboot() error                        { return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) }

func (linux) ReadFile(path string, limit int) ([]byte, error) {
	fd, err := open(path)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Size > int64(limit) {
		return nil, unix.EFBIG
	}
	b := make([]byte, st.Size)
	for n := 0; n < len(b); {
		m, err := unix.Read(fd, b[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if m == 0 {
			return b[:n], nil
		}
		n += m
	}
	return b, nil
}

func (linux) ListDir(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, unix.ENOENT
	}
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func open(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// OpenConsole replaces the three standard descriptors, which the kernel leaves
// closed if there was no /dev/console before devtmpfs.
func (linux) OpenConsole() error {
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

func (linux) LoadModule(path string) error {
	fd, err := open(path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.FinitModule(fd, "", 0)
}

func (linux) LoopbackUp() error {
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

// Start starts the program in a session of its own, as the stock init does.
// Signals need no unblocking: the Go runtime blocks none in children.
func (linux) Start(argv, env []string) (int, error) {
	path, err := lookPath(argv[0], isProgram)
	if err != nil {
		return 0, err
	}
	return syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env:   env,
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}

// lookPath finds a program that is named without a slash in the default search
// path. The PATH of the application's environment is not asked, as the stock
// init does not.
func lookPath(name string, ok func(path string) bool) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for dir := range strings.SplitSeq(defaultPath, ":") {
		if p := dir + "/" + name; ok(p) {
			return p, nil
		}
	}
	return "", fmt.Errorf("not found in %s: %w", defaultPath, unix.ENOENT)
}

func isProgram(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0
}

func (linux) Wait() (int, Status, error) {
	var ws unix.WaitStatus
	pid, err := unix.Wait4(-1, &ws, 0, nil)
	return pid, statusOf(ws), err
}

// Log writes a line in one piece, so that it is not torn by kernel messages.
func (linux) Log(line string) {
	unix.Write(2, []byte("init: "+line+"\n"))
}
