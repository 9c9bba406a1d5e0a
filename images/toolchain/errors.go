package toolchain

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnavailable is what every [UnavailableError] is.
var ErrUnavailable = errors.New("tool chain not available")

// An UnavailableError says in one sentence why parts of the tool chain could not
// be had, and what to do. It is a fault of the surroundings (network, disk,
// machine), not of a guest.
type UnavailableError struct {
	Parts  Part
	Reason string // what was tried and how that ended
	Hint   string // what to set or do
	Err    error  // the cause, which Reason tells too
}

// Error implements error.
func (e *UnavailableError) Error() string {
	msg := fmt.Sprintf("get %s: %s", partNames(e.Parts), e.Reason)
	if e.Hint != "" {
		msg += "; " + e.Hint
	}
	return msg
}

// Is makes every UnavailableError an [ErrUnavailable].
func (e *UnavailableError) Is(target error) bool { return target == ErrUnavailable }

// Unwrap gives the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

// A MissingDevicesError says that a QEMU that the caller named is not enough.
type MissingDevicesError struct {
	Path    string
	Version string   // as it says of itself, empty if it does not
	Missing []string // devices that it lacks
}

// Error implements error.
func (e *MissingDevicesError) Error() string {
	v := e.Version
	if v == "" {
		v = "unknown version"
	}
	return fmt.Sprintf("use QEMU %s (%s): it lacks %s; needed is a build with them, %s or newer",
		e.Path, v, strings.Join(e.Missing, ", "), minQEMU)
}

// partNames lists parts for a sentence: "qemu, kernel and busybox".
func partNames(p Part) string {
	var names []string
	for _, one := range []Part{PartQEMU, PartKernel, PartBusybox} {
		if p&one != 0 {
			names = append(names, one.String())
		}
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// setHint says which variables make up for parts that could not be fetched.
func setHint(p Part) string {
	var names []string
	for _, v := range []struct {
		part Part
		env  string
	}{{PartQEMU, EnvQEMU}, {PartKernel, EnvKernel}, {PartBusybox, EnvBusybox}} {
		if p&v.part != 0 {
			names = append(names, v.env)
		}
	}
	return "set " + strings.Join(names, " and ")
}
