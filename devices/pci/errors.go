package pci

import (
	"errors"
	"fmt"
)

var (
	// ErrBusMaster means that the driver does not let the function reach
	// memory: Bus Master Enable is clear, the function sleeps or it is being reset.
	ErrBusMaster = errors.New("bus mastering is off")

	// ErrDetached means that no transport carries the function.
	ErrDetached = errors.New("function is not attached")

	// ErrAttached means that another transport carries the function.
	ErrAttached = errors.New("function is attached already")
)

// A ConfigError reports a value of [Config] that no function can have.
type ConfigError struct {
	Field string // such as "BARs[2].Size"
	Err   error
}

func (e *ConfigError) Error() string { return fmt.Sprintf("pci config %s: %v", e.Field, e.Err) }

func (e *ConfigError) Unwrap() error { return e.Err }

// invalid makes a ConfigError.
func invalid(field, format string, args ...any) error {
	return &ConfigError{Field: field, Err: fmt.Errorf(format, args...)}
}

// An AccessError reports an access that leaves its space. A guest cannot make
// one: only a transport whose client is broken or hostile.
type AccessError struct {
	Space  string // "configuration space" or "BAR 0" to "BAR 5"
	Offset uint64
	Len    int // bytes
}

func (e *AccessError) Error() string {
	return fmt.Sprintf("access to %s at %#x+%#x: out of range", e.Space, e.Offset, e.Len)
}
