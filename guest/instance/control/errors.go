package control

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// A Code says what kind of failure an [Error] is.
type Code string

// The codes.
const (
	Unsupported Code = "unsupported" // a request or a version that the guest does not know
	Invalid     Code = "invalid"     // an argument that is refused
	Failed      Code = "failed"      // the guest's kernel refused, or something is broken
	Missing     Code = "missing"     // devices did not come in time
	Cancelled   Code = "cancelled"   // another request came
)

// An Error is a request that failed in the guest. The message comes from the
// guest: it is at most [maxText] bytes and printable.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	// Missing are the entries of [DevicesRequest].Want that did not come, with
	// code Missing.
	Missing []string `json:"missing,omitempty"`
}

// Error is the message, with the devices.
func (e *Error) Error() string {
	s := e.Message
	if s == "" {
		s = string(e.Code)
	}
	if len(e.Missing) > 0 {
		s += ": " + strings.Join(e.Missing, ", ")
	}
	return s
}

// ErrProtocol says that the guest answered something that this protocol has not.
var ErrProtocol = errors.New("not this protocol's answer")

func invalid(format string, args ...any) error {
	return &Error{Code: Invalid, Message: fmt.Sprintf(format, args...)}
}

// failure makes what a handler returned an answer.
func failure(err error) *Error {
	e := &Error{Code: Failed, Message: err.Error()}
	var known *Error
	if errors.As(err, &known) {
		e.Code, e.Missing = known.Code, known.Missing
		if err == error(known) {
			e.Message = known.Message // Error() has the devices too
		}
	}
	e.Message = clip(e.Message)
	return e
}

// checked is an error as it came from the guest, with what is not to be trusted
// taken out.
func (e *Error) checked() *Error {
	c := &Error{Code: e.Code, Message: clip(e.Message)}
	switch e.Code {
	case Unsupported, Invalid, Failed, Missing, Cancelled:
	default:
		c.Code = Failed
	}
	for _, m := range e.Missing[:min(len(e.Missing), MaxWants)] {
		c.Missing = append(c.Missing, clip(m))
	}
	return c
}

// maxText bounds text that one end prints for the other, in bytes.
const maxText = 1 << 10

// clip makes text short and printable.
func clip(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
