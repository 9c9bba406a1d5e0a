package agent

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// A ptyRequest is the payload of "pty-req", RFC 4254 section 6.2. The encoded
// terminal modes are not applied: the defaults of a new terminal are what a
// client with a raw terminal of its own needs.
type ptyRequest struct {
	Term                         string
	Columns, Rows, Width, Height uint32
	Modes                        string
}

// A windowSize is the payload of "window-change", RFC 4254 section 6.7.
type windowSize struct{ Columns, Rows, Width, Height uint32 }

func (w windowSize) winsize() *unix.Winsize {
	clamp := func(n uint32) uint16 { return uint16(min(n, math.MaxUint16)) }
	return &unix.Winsize{Row: clamp(w.Rows), Col: clamp(w.Columns), Xpixel: clamp(w.Width), Ypixel: clamp(w.Height)}
}

func (p *process) startOnTerminal(ch ssh.Channel, req *ptyRequest) error {
	ptmx, tty, err := openTerminal()
	if err != nil {
		return fmt.Errorf("open terminal: %w", err)
	}
	defer tty.Close()
	p.stdin, p.keepIn = ptmx, true
	p.outputs = []output{{ptmx, ch}}
	p.resize(windowSize{req.Columns, req.Rows, req.Width, req.Height})
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = tty, tty, tty
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return p.cmd.Start()
}

// resize sets the size of the terminal, if there is one. The kernel tells the
// programs on it.
func (p *process) resize(size windowSize) bool {
	if !p.keepIn || p.stdin == nil {
		return false
	}
	raw, err := p.stdin.SyscallConn()
	if err != nil {
		return false
	}
	var ioctlErr error
	err = raw.Control(func(fd uintptr) {
		ioctlErr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size.winsize())
	})
	return errors.Join(err, ioctlErr) == nil
}

// openTerminal opens a new terminal. The controlling side has read deadlines
// and can be closed while it is read, which the one of the pty package cannot:
// that package makes its descriptor a blocking one.
func openTerminal() (ptmx, tty *os.File, err error) {
	blocking, tty, err := pty.Open()
	if err != nil {
		return nil, nil, err
	}
	defer blocking.Close()
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		if err = unix.SetNonblock(fd, true); err == nil {
			return os.NewFile(uintptr(fd), blocking.Name()), tty, nil
		}
		unix.Close(fd)
	}
	tty.Close()
	return nil, nil, err
}
