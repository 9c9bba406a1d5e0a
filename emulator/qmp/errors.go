package qmp

import (
	"errors"
	"fmt"
)

// The ways a connection ends. Every call that was pending, and every later one,
// returns the same error, which wraps one of these.
var (
	// ErrClosed says that this side closed the client.
	ErrClosed = errors.New("client closed")

	// ErrDisconnected says that QEMU closed the socket or that it broke.
	ErrDisconnected = errors.New("connection lost")

	// ErrProtocol says that the peer sent what no QMP server sends.
	ErrProtocol = errors.New("protocol broken")
)

var (
	// ErrNotConnected is returned by calls before Connect succeeded.
	ErrNotConnected = errors.New("not connected")

	// ErrBusy is returned when MaxPending commands wait for their replies.
	ErrBusy = errors.New("too many commands without a reply")
)

// Classes of [Error], from QapiErrorClass in qapi/error.json.
const (
	ClassGeneric         = "GenericError"
	ClassCommandNotFound = "CommandNotFound"
	ClassDeviceNotActive = "DeviceNotActive"
	ClassDeviceNotFound  = "DeviceNotFound"
	ClassKVMMissingCap   = "KVMMissingCap"
)

// An Error is QEMU's refusal of one command. The connection is fine.
type Error struct {
	Command string // the command that was refused
	Class   string // one of the Class constants, or a later addition
	Desc    string // a sentence for people
}

func (e *Error) Error() string {
	return fmt.Sprintf("qmp: %s: %s: %s", e.Command, e.Class, e.Desc)
}

// IsClass reports whether err is, or wraps, an [Error] of the given class.
func IsClass(err error, class string) bool {
	var e *Error
	return errors.As(err, &e) && e.Class == class
}
