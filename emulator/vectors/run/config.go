package run

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

// A Protocol says how the verifier is asked.
type Protocol uint8

const (
	PerCase Protocol = iota // a process per case
	JSONL                   // a process per job, with package protocol
)

// String is "process per case" or "JSON lines".
func (p Protocol) String() string {
	switch p {
	case PerCase:
		return "process per case"
	case JSONL:
		return "JSON lines"
	}
	return fmt.Sprintf("Protocol(%d)", uint8(p))
}

// DefaultTimeout is how long a verifier may take for one case, its start
// included. Interpreters take up to a second to start on a busy machine.
const DefaultTimeout = 20 * time.Second

// maxJobs bounds Config.Jobs: each is three processes.
const maxJobs = 256

// A Config says what to run. Source, Command and StateDir are required.
type Config struct {
	// Source gives the cases, [Fixed] or [RealTime].
	Source Source

	// Command is the verifier: a program, looked up in PATH if it holds no slash,
	// and its arguments. Placeholders are replaced under PerCase only.
	Command []string

	// Protocol by which it is asked.
	Protocol Protocol

	// StateDir is where the run makes a directory of its own for documents and
	// roots. It is gone afterwards, however this process ends.
	StateDir string

	// Jobs is how many cases are asked about at a time, 1 to 256; 0 is one per
	// CPU.
	Jobs int

	// Timeout for one case; 0 is DefaultTimeout.
	Timeout time.Duration

	// Select leaves cases out.
	Select Selection

	// ShowID tells the verifier the name of the case, to find one in its own
	// output. It is off because the name all but says the verdict.
	ShowID bool

	// Progress, if set, is called after each case, from one goroutine at a time
	// and in no order.
	Progress func(Result)
}

// check completes the configuration and finds the caller's mistakes.
func (c Config) check() (Config, error) {
	switch {
	case c.Source == nil:
		return c, errors.New("run vectors: no source of cases")
	case len(c.Command) == 0 || c.Command[0] == "":
		return c, errors.New("run vectors: no command")
	case c.StateDir == "":
		return c, errors.New("run vectors: no state directory")
	case c.Protocol > JSONL:
		return c, fmt.Errorf("run vectors: %v is no protocol", c.Protocol)
	case c.Jobs < 0 || c.Jobs > maxJobs:
		return c, fmt.Errorf("run vectors: %d jobs; allowed are 1 to %d", c.Jobs, maxJobs)
	case c.Timeout < 0:
		return c, fmt.Errorf("run vectors: timeout is %v; allowed are times above 0", c.Timeout)
	}
	if c.Jobs == 0 {
		c.Jobs = min(runtime.NumCPU(), maxJobs)
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	return c, c.Select.Check()
}
