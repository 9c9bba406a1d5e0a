// Package args reads command lines by the rules of clap, the library of AWS's
// nitro-cli, where these differ from those of Go's libraries: an option may take
// several values (--cpu-ids 2 3), a value never begins with a dash, an option is
// given once, and options require and exclude each other.
package args

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Flag is an option, --Name.
type Flag struct {
	Name string
	// Value names the value in help; empty for an option without one.
	Value string
	// Many allows several values, all behind one --Name.
	Many bool
	Help string

	// Required is an option without which a command is wrong, unless one of
	// Unless is there.
	Required bool
	Unless   []string
	// Conflicts are options that exclude this one.
	Conflicts []string
	// Requires is an option that this one needs.
	Requires string
}

// A Command is a word with its options. It takes no other arguments.
type Command struct {
	Name, About string
	Flags       []Flag
}

// A UsageError is a command line that breaks the rules.
type UsageError struct {
	// Command is nil if the fault is before it.
	Command *Command
	Text    string
}

// Error is the text.
func (e *UsageError) Error() string { return e.Text }

// ErrHelp says that the user asks for help about the command.
var ErrHelp = errors.New("help requested")

// Values are the options that were given.
type Values map[string][]string

// Has reports whether an option was given.
func (v Values) Has(name string) bool { _, ok := v[name]; return ok }

// Get is the value of an option; ok says whether it was given.
func (v Values) Get(name string) (value string, ok bool) {
	values, ok := v[name]
	if len(values) > 0 {
		value = values[0]
	}
	return value, ok
}

// Parse reads the arguments behind the command's name. Errors are [*UsageError]
// or [ErrHelp].
func (c *Command) Parse(arguments []string) (Values, error) {
	values := make(Values)
	for i := 0; i < len(arguments); {
		arg := arguments[i]
		i++
		if arg == "-h" || arg == "--help" {
			return nil, ErrHelp
		}
		name, isFlag := strings.CutPrefix(arg, "--")
		if !isFlag || name == "" {
			return nil, c.fault("unexpected argument '%s'", arg)
		}
		name, attached, hasAttached := strings.Cut(name, "=")
		f := c.flag(name)
		switch {
		case f == nil:
			return nil, c.fault("unexpected argument '--%s'", name)
		case values.Has(name):
			return nil, c.fault("the argument '%s' cannot be used multiple times", f)
		case f.Value == "" && hasAttached:
			return nil, c.fault("unexpected value '%s' for '%s'", attached, f)
		case f.Value == "":
			values[name] = nil
			continue
		case hasAttached:
			values[name] = []string{attached}
			continue
		}
		start := i
		for i < len(arguments) && !isOption(arguments[i]) && (f.Many || i == start) {
			i++
		}
		if i == start {
			return nil, c.fault("a value is required for '%s' but none was supplied", f)
		}
		values[name] = arguments[start:i]
	}
	if err := c.check(values); err != nil {
		return nil, err
	}
	return values, nil
}

// isOption reports whether arg cannot be a value. A dash alone can.
func isOption(arg string) bool { return len(arg) > 1 && arg[0] == '-' }

// check checks what depends on several options.
func (c *Command) check(v Values) error {
	for _, f := range c.Flags {
		if !v.Has(f.Name) {
			continue
		}
		for _, other := range f.Conflicts {
			if v.Has(other) {
				return c.fault("the argument '%s' cannot be used with '%s'", &f, c.flag(other))
			}
		}
	}
	var missing []string
	for _, f := range c.Flags {
		present := v.Has(f.Name)
		if !present && f.Required && !slices.ContainsFunc(f.Unless, v.Has) {
			missing = append(missing, f.String())
		}
		if present && f.Requires != "" && !v.Has(f.Requires) {
			missing = append(missing, c.flag(f.Requires).String())
		}
	}
	if len(missing) > 0 {
		return c.fault("the following required arguments were not provided:\n  %s", strings.Join(slices.Compact(missing), "\n  "))
	}
	return nil
}

func (c *Command) fault(format string, args ...any) error {
	return &UsageError{Command: c, Text: fmt.Sprintf(format, args...)}
}

// flag is nil for a name that is none.
func (c *Command) flag(name string) *Flag {
	i := slices.IndexFunc(c.Flags, func(f Flag) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &c.Flags[i]
}

// String is the option with its value, as in help.
func (f *Flag) String() string {
	s := "--" + f.Name
	if f.Value != "" {
		s += " <" + f.Value + ">"
	}
	if f.Many {
		s += "..."
	}
	return s
}
