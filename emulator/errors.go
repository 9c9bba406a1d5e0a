package emulator

import (
	"errors"
	"fmt"
	"strings"
)

// A RequestError says that the caller asked for something that no Nitro host
// would do: it names the field, what was found and what is allowed.
type RequestError struct {
	Field string
	Found string
	// Allowed is a phrase that can follow "allowed is".
	Allowed string
}

func (e *RequestError) Error() string {
	return fmt.Sprintf("%s is %s; allowed is %s", e.Field, e.Found, e.Allowed)
}

// State is where an enclave stands, with nitro-cli's words for the two that it
// knows.
type State string

// The states, in order. An enclave never goes back.
const (
	Starting    State = "PENDING" // booting, no heartbeat yet
	Running     State = "RUNNING"
	Terminating State = "TERMINATING"
	Terminated  State = "TERMINATED"
)

// EndReason says why an enclave ended.
type EndReason string

// The reasons.
const (
	EndTerminated EndReason = "terminated"  // by its owner
	EndReset      EndReason = "guest reset" // the guest rebooted or powered off: on Nitro the end of the enclave
	EndPanic      EndReason = "guest panic"
	EndHung       EndReason = "guest hung" // the watchdog had to end it
	EndNoBeat     EndReason = "no heartbeat"
	EndFailure    EndReason = "emulator failure" // QEMU or a device model broke
)

// Report is err for people: over several lines, with the end of the console and
// a command line to reproduce, where err has these.
func Report(err error) string {
	var r interface{ Report() string }
	if errors.As(err, &r) {
		return strings.TrimRight(r.Report(), "\n")
	}
	return err.Error()
}
