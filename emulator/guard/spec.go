package guard

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A spec is what the guards must know. It travels in a memfd that they inherit,
// because argument lists and environments may be larger than a pipe.
type spec struct {
	Path   string   `json:"path"` // of the child's executable
	Args   []string `json:"args"` // argv, with the program's name first
	Env    []string `json:"env"`
	Dir    string   `json:"dir,omitempty"`
	Remove []string `json:"remove,omitempty"`
}

// file returns an unnamed file that holds the spec.
func (s *spec) file() (*os.File, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	fd, err := unix.MemfdCreate("nitrolab-guard", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "guard-spec")
	if _, err := f.WriteAt(b, 0); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// readSpec reads a spec from descriptor fd and leaves it open, with its offset,
// for the keeper.
func readSpec(fd int) (*spec, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	f := os.NewFile(uintptr(dup), "guard-spec")
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s := new(spec)
	if err := json.NewDecoder(io.NewSectionReader(f, 0, st.Size())).Decode(s); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return s, nil
}

// A report is what the guards tell the owner, one JSON object after another. The
// owner acknowledges each one that comes after the first. A guard does not end
// before that, or before the owner has: only so is it known in all orders of
// dying whose business the paths are.
type report struct {
	// Started: both are set once the child runs.
	Pid    int `json:"pid,omitempty"`
	Keeper int `json:"keeper,omitempty"`

	// Not started: what failed, and its errno if it has one.
	Error string `json:"error,omitempty"`
	Errno int    `json:"errno,omitempty"`

	// Ended: the child's wait status, and the processes that SIGKILL did not
	// end in time.
	Ended     bool  `json:"ended,omitempty"`
	Status    int   `json:"status,omitempty"`
	Survivors []int `json:"survivors,omitempty"`

	// Lost: a guard is gone, so the other ended the child.
	Lost bool `json:"lost,omitempty"`
}

// send writes r to the owner. If the owner is gone, nobody misses it.
func (r report) send(fd int) {
	b, err := json.Marshal(r)
	if err != nil {
		return // no field can fail
	}
	for b = append(b, '\n'); len(b) > 0; {
		n, err := unix.SendmsgN(fd, b, nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		b = b[n:]
	}
}

// Commands of the owner, two bytes each: the letter and an argument.
const (
	cmdKill   = 'K' // argument unused
	cmdAck    = 'A' // argument unused: a report arrived
	cmdSignal = 'S' // argument: the signal for the child
	cmdKeep   = 'D' // argument unused; disarm: remove nothing (directories)
)
