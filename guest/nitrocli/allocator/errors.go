package allocator

import "fmt"

// A Code says what went wrong with CPUs or huge pages: AWS's numbers.
type Code int

// The codes.
const (
	EmptyCPUPool       Code = 200 // no CPU is off-line
	MissingNode        Code = 201 // a CPU belongs to no NUMA node
	InvalidNode        Code = 202 // the CPUs belong to several NUMA nodes
	ClearPage          Code = 203 // huge pages could not be given back
	SetPage            Code = 204 // huge pages could not be reserved
	RollbackPage       Code = 205 // the earlier number of huge pages could not be set again
	InsufficientMemory Code = 206 // there is not enough memory in one piece
)

var codeTexts = map[Code]string{
	EmptyCPUPool:       "no CPU is off-line: the CPU pool is empty",
	MissingNode:        "a CPU belongs to no NUMA node",
	InvalidNode:        "the CPUs do not belong to one NUMA node",
	ClearPage:          "huge pages could not be given back; some may be in use",
	SetPage:            "huge pages could not be reserved",
	RollbackPage:       "the earlier number of huge pages could not be set again; some may be in use",
	InsufficientMemory: "not all of the memory could be reserved as huge pages",
}

// Error says what the code means, and its number.
func (c Code) Error() string {
	text, ok := codeTexts[c]
	if !ok {
		text = "unknown error"
	}
	return fmt.Sprintf("%s (%d)", text, int(c))
}

// A ConfigError is a mistake in the configuration file.
type ConfigError struct {
	Line int // 0 if it is in none
	Text string
}

// Error has the line and the text.
func (e *ConfigError) Error() string {
	if e.Line == 0 {
		return "config error: " + e.Text
	}
	return fmt.Sprintf("config error in line %d: %s", e.Line, e.Text)
}
