package guard

import (
	"fmt"
	"syscall"
)

// A Status is how a child ended. The zero value is a successful exit.
type Status struct{ ws syscall.WaitStatus }

// Success reports an exit with status 0.
func (s Status) Success() bool { return s.ws == 0 }

// Code is the exit status, -1 if a signal ended the child.
func (s Status) Code() int {
	if !s.ws.Exited() {
		return -1
	}
	return s.ws.ExitStatus()
}

// Signal is the signal that ended the child, 0 if it exited.
func (s Status) Signal() syscall.Signal {
	if !s.ws.Signaled() {
		return 0
	}
	return s.ws.Signal()
}

// String is "exit status 3" or "signal: killed".
func (s Status) String() string {
	if s.ws.Signaled() {
		return "signal: " + s.ws.Signal().String()
	}
	return fmt.Sprintf("exit status %d", s.ws.ExitStatus())
}
