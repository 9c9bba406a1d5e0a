package args

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteHelp writes what a command does and takes. program is the command's
// caller, such as "nitro-cli".
func (c *Command) WriteHelp(w io.Writer, program string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "%s\n\n%s\n\nOptions:\n", c.About, c.Usage(program))
	for _, f := range c.Flags {
		fmt.Fprintf(t, "      %s\t%s\n", &f, f.Help)
	}
	fmt.Fprintf(t, "  -h, --help\tPrint help\n")
	return t.Flush()
}

// Usage is one line: the command with the options that it cannot do without.
func (c *Command) Usage(program string) string {
	s := "Usage: " + program + " " + c.Name
	optional := false
	for _, f := range c.Flags {
		if f.Required && len(f.Unless) == 0 {
			s += " " + f.String()
		} else {
			optional = true
		}
	}
	if optional {
		s += " [OPTIONS]"
	}
	return s
}
