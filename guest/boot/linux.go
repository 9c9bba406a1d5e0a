package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/guest/internal/pid1"
)

// linux is the real system.
type linux struct{}

func (linux) CatchSignals()                { pid1.CatchSignals() }
func (linux) OpenConsole() error           { return pid1.OpenConsole() }
func (linux) LoadModule(path string) error { return pid1.LoadModule(path) }
func (linux) LoopbackUp() error            { return pid1.LoopbackUp() }
func (linux) Log(line string)              { pid1.Log(line) }

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
	fd, err := pid1.Open(path)
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

// Start starts the program in a session of its own, as the stock init does.
func (linux) Start(argv, env []string) (int, error) {
	path, err := lookPath(argv[0], isProgram)
	if err != nil {
		return 0, err
	}
	return pid1.Start(path, argv, env)
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
