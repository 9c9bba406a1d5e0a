package boot

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// statusNotFound is the shells' exit code for a command that does not exist.
const statusNotFound = 127

// A Status is how a process ended.
type Status struct {
	Code    int         // exit code, if Signal is 0
	Signal  unix.Signal // signal that ended it
	Stopped bool        // it did not end but was stopped or went on
}

// String is "status 3" or "signal killed".
func (s Status) String() string {
	if s.Signal != 0 {
		return "signal " + s.Signal.String()
	}
	return "status " + strconv.Itoa(s.Code)
}

func statusOf(ws unix.WaitStatus) Status {
	switch {
	case ws.Exited():
		return Status{Code: ws.ExitStatus()}
	case ws.Signaled():
		return Status{Signal: ws.Signal()}
	}
	return Status{Stopped: true}
}
