package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/guest/internal/pid1"
)

// linux is the real system of PID 1.
type linux struct{}

func (linux) CatchSignals()                { pid1.CatchSignals() }
func (linux) OpenConsole() error           { return pid1.OpenConsole() }
func (linux) LoadModule(path string) error { return pid1.LoadModule(path) }
func (linux) LoopbackUp() error            { return pid1.LoopbackUp() }
func (linux) Log(line string)              { pid1.Log(line) }
func (linux) Pause()                       { time.Sleep(time.Second) }

func (linux) Mount(source, target, fstype string, flags uintptr, data string) error {
	return unix.Mount(source, target, fstype, flags, data)
}
func (linux) Mkdir(path string, mode uint32) error { return unix.Mkdir(path, mode) }
func (linux) Symlink(target, path string) error    { return unix.Symlink(target, path) }

func (linux) ListDir(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, unix.ENOENT
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (linux) Start(argv, env []string) (int, error) {
	return pid1.Start(argv[0], argv, env)
}

// Wait says nothing of a child that ended well.
func (linux) Wait() (int, string, error) {
	var ws syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &ws, 0, nil)
	if err != nil {
		return 0, "", err.(syscall.Errno)
	}
	switch {
	case ws.Signaled():
		return pid, "signal " + ws.Signal().String(), nil
	case ws.ExitStatus() != 0:
		return pid, fmt.Sprintf("status %d", ws.ExitStatus()), nil
	}
	return pid, "", nil
}
