// Package failure has the errors of nitro-cli as people and scripts know them:
// the codes E00 to E60, their names, and the form of the message. Names and
// numbers are AWS's, texts are our own.
package failure

import (
	"errors"
	"fmt"
	"strings"
)

// An Error is something that went wrong, with its code.
type Error struct {
	Code Code
	// Info are the values for the message, as many as the code has places for:
	// argument and value, or file and operation. Fewer are allowed.
	Info []string
	// Steps are what was being done, the innermost first.
	Steps []string
	// Err is the cause, possibly nil.
	Err error
}

// New is an error with a cause in words.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Wrap is an error with a cause. An err that has a code already keeps it.
func Wrap(code Code, err error, info ...string) error {
	var has *Error
	if err == nil || errors.As(err, &has) {
		return err
	}
	return &Error{Code: code, Info: info, Err: err}
}

// With adds values for the message.
func (e *Error) With(info ...string) *Error {
	e.Info = append(e.Info, info...)
	return e
}

// During adds a step to err; nil stays nil.
func During(step string, err error) error {
	var e *Error
	if err == nil || !errors.As(err, &e) {
		return err
	}
	e.Steps = append(e.Steps, step)
	return err
}

// Error is one line: code, name and cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s: %s", e.Code, e.Code.Title())
	}
	return fmt.Sprintf("%s: %s: %v", e.Code, e.Code.Title(), e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf is the code of err, [UnspecifiedError] if it has none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return UnspecifiedError
}

// helpPage is AWS's page about the codes; the code is the anchor.
const helpPage = "https://docs.aws.amazon.com/enclaves/latest/user/cli-errors.html"

// Message is what the user sees, without a newline at the end. It begins as
// nitro-cli's does, with "[ E26 ] " and the name. nitro-cli keeps the cause for
// its log; here it is part of the message. backtrace adds the steps, which
// nitro-cli does if BACKTRACE is 1.
func Message(err error, backtrace bool) string {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Err: err}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[ %s ] %s. %s", e.Code, e.Code.Title(), e.detail())
	if e.Err != nil {
		fmt.Fprintf(&b, "\nCause: %v", e.Err)
	}
	fmt.Fprintf(&b, "\n\nFor more details, run `nitro-cli explain --error-code %s` or see %s#%[1]s", e.Code, helpPage)
	if backtrace {
		b.WriteString("\n\nBacktrace:")
		for i := len(e.Steps) - 1; i >= 0; i-- {
			b.WriteString("\n  " + e.Steps[i])
		}
	}
	return b.String()
}

// detail is the sentence with the values, or what the code means without them.
func (e *Error) detail() string {
	t := e.Code.entry()
	n := strings.Count(t.detail, "%s")
	if n == 0 || len(e.Info) < n {
		return t.why
	}
	args := make([]any, n)
	for i := range args {
		args[i] = e.Info[i]
	}
	return fmt.Sprintf(t.detail, args...)
}

// Explain is the text of nitro-cli explain for one error code, without a newline
// at the end. Like nitro-cli it has an answer to anything.
func Explain(code string) string {
	c, ok := ParseCode(code)
	if !ok {
		return "No such error code " + code
	}
	t := c.entry()
	text := t.title + ". " + t.why
	if t.example != "" {
		text += "\n\tExample: " + t.example
	}
	return text
}
