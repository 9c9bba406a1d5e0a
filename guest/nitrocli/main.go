package nitrocli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/nitrolab/nitrolab/guest/nitrocli/args"
	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
)

// exitUsage is what a wrong command line ends with; clap's, in nitro-cli.
const exitUsage = 2

const program = "nitro-cli"

// A command is one word of nitro-cli.
type command struct {
	args.Command
	// action is what nitro-cli calls the command in a backtrace.
	action string
	run    func(e *Env, ctx context.Context, v args.Values) error
}

// commands are in the order of help.
func commands() []command {
	return []command{
		{runEnclaveArgs, "Run Enclave", (*Env).runEnclave},
		{terminateEnclaveArgs, "Terminate Enclave", (*Env).terminateEnclave},
		{buildEnclaveArgs, "Build Enclave", (*Env).buildEnclave},
		{describeEIFArgs, "Describe EIF", (*Env).describeEIF},
		{describeEnclavesArgs, "Describe Enclave", (*Env).describeEnclaves},
		{consoleArgs, "Enclave Console", (*Env).console},
		{pcrArgs, "File PCR", (*Env).pcr},
		{explainArgs, "Explain Error", (*Env).explain},
		{signEIFArgs, "Sign EIF", (*Env).signEIF},
	}
}

// Main runs one command line, without the program's name, and returns the exit
// code: 0, the number of an error code, or 2 for a wrong command line.
func (e *Env) Main(ctx context.Context, arguments []string) int {
	if len(arguments) == 0 {
		e.help(e.Stderr)
		return exitUsage
	}
	name, rest := arguments[0], arguments[1:]
	switch name {
	case "-h", "--help":
		e.help(e.Stdout)
		return 0
	case "-V", "--version":
		fmt.Fprintf(e.Stdout, "Nitro CLI %s (nitrolab)\n", Version)
		return 0
	case "help":
		if len(rest) == 0 {
			e.help(e.Stdout)
			return 0
		}
		name, rest = rest[0], []string{"--help"}
	}
	all := commands()
	i := slices.IndexFunc(all, func(c command) bool { return c.Name == name })
	if i < 0 {
		return e.usage(&args.UsageError{Text: fmt.Sprintf("unrecognized subcommand '%s'", name)})
	}
	c := all[i]
	values, err := c.Parse(rest)
	var usage *args.UsageError
	switch {
	case errors.Is(err, args.ErrHelp):
		if err := c.WriteHelp(e.Stdout, program); err != nil {
			return e.fail(err)
		}
		return 0
	case errors.As(err, &usage):
		return e.usage(usage)
	}
	return e.fail(failure.During(c.action, c.run(e, ctx, values)))
}

// fail reports an error, if there is one, and is the exit code.
func (e *Env) fail(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(e.Stderr, failure.Message(err, e.env(backtraceVariable, "") == "1"))
	return failure.CodeOf(err).ExitCode()
}

// usage reports a wrong command line.
func (e *Env) usage(err *args.UsageError) int {
	line := "Usage: " + program + " [COMMAND]"
	if err.Command != nil {
		line = err.Command.Usage(program)
	}
	fmt.Fprintf(e.Stderr, "error: %s\n\n%s\n\nFor more information, try '--help'.\n", err.Text, line)
	return exitUsage
}

func (e *Env) help(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "CLI for enclave lifetime management\n\nUsage: %s [COMMAND]\n\nCommands:\n", program)
	for _, c := range commands() {
		fmt.Fprintf(t, "  %s\t%s\n", c.Name, c.About)
	}
	fmt.Fprintf(t, "  help\tPrint this message or the help of the given subcommand\n\nOptions:\n")
	fmt.Fprintf(t, "  -h, --help\tPrint help\n  -V, --version\tPrint version\n")
	_ = t.Flush() // nobody is left to tell
}

// printJSON prints v as nitro-cli does, indented by two spaces.
func (e *Env) printJSON(v any) error {
	enc := json.NewEncoder(e.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return failure.Wrap(failure.SerdeError, enc.Encode(v))
}
