package wire

import "fmt"

// An ErrorCode is the module's verdict on a request it did not fulfil. It is a
// Go error and, on the wire, the reply {"Error": "<name>"}; compare with
// errors.Is.
//
// The numbers are those of nsm-lib's C enum and never cross the wire.
type ErrorCode uint8

// The error codes, in the order of nsm-lib. Hardware was seen to return
// InvalidIndex, ReadOnlyIndex and InvalidOperation only.
const (
	Success          ErrorCode = iota // no error
	InvalidArgument                   // an argument is invalid
	InvalidIndex                      // the PCR index or range is out of bounds
	InvalidResponse                   // the reply is of another kind than the request; made by clients
	ReadOnlyIndex                     // the PCR is locked
	InvalidOperation                  // the request cannot be understood
	BufferTooSmall                    // the operation succeeded, its reply does not fit the buffer
	InputTooLarge                     // the request is longer than MaxRequest
	InternalError                     // the module failed
)

var codeNames = [...]string{
	Success:          "Success",
	InvalidArgument:  "InvalidArgument",
	InvalidIndex:     "InvalidIndex",
	InvalidResponse:  "InvalidResponse",
	ReadOnlyIndex:    "ReadOnlyIndex",
	InvalidOperation: "InvalidOperation",
	BufferTooSmall:   "BufferTooSmall",
	InputTooLarge:    "InputTooLarge",
	InternalError:    "InternalError",
}

// String is the code's name on the wire.
func (c ErrorCode) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("ErrorCode(%d)", uint8(c))
}

// Error is the code's name behind the module's.
func (c ErrorCode) Error() string { return "nsm: " + c.String() }

// ParseErrorCode is the code with that name on the wire; ok is false if there
// is none.
func ParseErrorCode(name string) (code ErrorCode, ok bool) {
	for c, n := range codeNames {
		if n == name {
			return ErrorCode(c), true
		}
	}
	return 0, false
}
