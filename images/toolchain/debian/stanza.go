package debian

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// maxStanzaInput bounds what is read as control data: what apt-cache prints of
// a hundred packages has 150 kB, a machine's whole sources a few.
const maxStanzaInput = 16 << 20

// A stanza is one paragraph of control data (deb822(5)): the value of each
// field by its name in lower case, continuation lines kept apart by newlines.
type stanza map[string]string

// words gives the words of a field.
func (s stanza) words(field string) []string { return strings.Fields(s[field]) }

// readStanzas reads the paragraphs of control data. Comment lines start with #
// and do not end a paragraph. Lines that are no field and continue none are an
// error.
func readStanzas(r io.Reader) ([]stanza, error) {
	var out []stanza
	var cur stanza
	var last string
	lines := bufio.NewScanner(io.LimitReader(r, maxStanzaInput))
	lines.Buffer(nil, 1<<20) // a Depends line of Debian has 20 kB at most
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimRight(lines.Text(), " \t\r")
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			cur, last = nil, ""
		case line[0] == ' ' || line[0] == '\t':
			if last == "" {
				return nil, fmt.Errorf("read control data: line %d continues nothing", n)
			}
			cur[last] += "\n" + strings.TrimSpace(line)
		default:
			name, value, ok := strings.Cut(line, ":")
			name = strings.ToLower(strings.TrimSpace(name))
			if !ok || name == "" {
				return nil, fmt.Errorf("read control data: line %d is no field", n)
			}
			if cur == nil {
				cur = stanza{}
				out = append(out, cur)
			}
			cur[name], last = strings.TrimSpace(value), name
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read control data: %w", err)
	}
	return out, nil
}
