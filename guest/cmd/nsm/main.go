// Command nsm asks the Nitro Secure Module of an enclave, from inside it.
// `nsm` alone lists what it can do.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/nitrolab/nitrolab/guest/nsm"
)

// Exit codes.
const (
	exitFailed = 1 // the module, the driver or the output failed
	exitUsage  = 2 // no such command or argument
)

func main() {
	e := env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, open: nsm.Open}
	os.Exit(e.main(os.Args[1:]))
}

// env is what the command has of the world.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	open           func() (*nsm.Session, error)
}

// A command is one word after "nsm". Its arguments are checked by parse before
// the module is opened; the function that parse returns uses it.
type command struct {
	name, args, does string
	parse            func(args []string) (action, error)
}

// An action does the work of a command.
type action func(s *nsm.Session, e *env) error

var commands = []command{
	{"describe", "", "what the module is", noArgs(describe)},
	{"pcr", "[INDEX]", "value and lock of a PCR, or of all", parsePCR},
	{"extend", "INDEX HEX", "extend a PCR, print its new value", parseExtend},
	{"lock", "INDEX", "make a PCR read-only", parseLock},
	{"lock-range", "N", "make PCRs 0 to N-1 read-only", parseLockRange},
	{"random", "", "256 bytes of entropy", noArgs(random)},
	{"attest", "[--nonce HEX] [--user-data HEX] [--public-key HEX] [-o FILE]", "a document, in hexadecimal or as it is to FILE (- is standard output)", parseAttest},
	{"raw", "HEX", "send these bytes, print the reply's", parseRaw},
	{"serve", "", "answer requests in frames on standard input, see devices/nsm/nsmpipe", noArgs(serve)},
}

// usageError is a mistake in the arguments.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// main runs the command in args and returns the exit code.
func (e *env) main(args []string) int {
	err := e.run(args)
	if err == nil {
		return 0
	}
	fmt.Fprintln(e.stderr, "nsm:", err)
	if usage := (usageError{}); errors.As(err, &usage) {
		e.usage()
		return exitUsage
	}
	return exitFailed
}

func (e *env) run(args []string) (err error) {
	if len(args) == 0 {
		return usageError{errors.New("no command")}
	}
	for _, c := range commands {
		if c.name != args[0] {
			continue
		}
		do, err := c.parse(args[1:])
		if err != nil {
			return usageError{fmt.Errorf("%s: %w", c.name, err)}
		}
		s, err := e.open()
		if err != nil {
			return err
		}
		return errors.Join(do(s, e), s.Close())
	}
	return usageError{fmt.Errorf("no command %q", args[0])}
}

func (e *env) usage() {
	fmt.Fprintln(e.stderr, "usage:")
	for _, c := range commands {
		fmt.Fprintf(e.stderr, "  nsm %s %s\n        %s\n", c.name, c.args, c.does)
	}
}

// noArgs is a parser for a command without arguments.
func noArgs(do action) func([]string) (action, error) {
	return func(args []string) (action, error) {
		if err := count(args, 0); err != nil {
			return nil, err
		}
		return do, nil
	}
}

// count is nil if there are n arguments.
func count(args []string, n int) error {
	if len(args) != n {
		return fmt.Errorf("got %d arguments, want %d", len(args), n)
	}
	return nil
}

// number is the first of n arguments, an index or a range in any notation of Go.
func number(args []string, n int) (uint16, error) {
	if err := count(args, n); err != nil {
		return 0, err
	}
	v, err := strconv.ParseUint(args[0], 0, 16)
	return uint16(v), err
}

// flags is a set of flags that reports mistakes as errors and prints nothing.
func flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	return f
}
