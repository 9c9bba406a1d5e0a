package debian

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// A Source is one archive that a machine's apt is told of, for binary packages.
type Source struct {
	URI        string
	Suites     []string
	Components []string
	SignedBy   string // file of a keyring; empty if unsaid or the key is inline
}

// ParseSources reads a file in deb822 style, as in sources.list.d/*.sources
// (sources.list(5)). Disabled and source-only entries are left out.
func ParseSources(r io.Reader) ([]Source, error) {
	stanzas, err := readStanzas(r)
	if err != nil {
		return nil, err
	}
	var out []Source
	for _, s := range stanzas {
		if disabled(s["enabled"]) || !has(s.words("types"), "deb") {
			continue
		}
		for _, uri := range s.words("uris") {
			out = append(out, Source{
				URI:        uri,
				Suites:     s.words("suites"),
				Components: s.words("components"),
				SignedBy:   keyFile(s["signed-by"]),
			})
		}
	}
	return out, nil
}

// ParseList reads a file in one-line style, as sources.list and
// sources.list.d/*.list. Lines that do not parse are an error, as for apt.
func ParseList(r io.Reader) ([]Source, error) {
	var out []Source
	lines := bufio.NewScanner(io.LimitReader(r, maxStanzaInput))
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if tab := strings.IndexByte(kind, '\t'); tab >= 0 {
			kind, rest = kind[:tab], kind[tab+1:]+" "+rest
		}
		switch kind {
		case "", "deb-src":
			continue
		case "deb":
		default:
			return nil, fmt.Errorf("read apt sources: line %d: unknown type %q", n, kind)
		}
		s, err := parseListEntry(strings.TrimSpace(rest))
		if err != nil {
			return nil, fmt.Errorf("read apt sources: line %d: %w", n, err)
		}
		out = append(out, s)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read apt sources: %w", err)
	}
	return out, nil
}

// parseListEntry reads what follows "deb": options in brackets, the URI, which
// may hold spaces inside brackets (cdrom:[Debian 13]/), the suite, components.
func parseListEntry(rest string) (Source, error) {
	var s Source
	if strings.HasPrefix(rest, "[") {
		options, after, ok := strings.Cut(rest[1:], "]")
		if !ok {
			return s, fmt.Errorf("options without end")
		}
		for _, o := range strings.Fields(options) {
			name, value, _ := strings.Cut(o, "=")
			if strings.EqualFold(strings.TrimRight(name, "+-"), "signed-by") {
				s.SignedBy = keyFile(strings.Trim(value, `"`))
			}
		}
		rest = strings.TrimSpace(after)
	}
	var depth int
	end := strings.IndexFunc(rest, func(c rune) bool {
		switch c {
		case '[':
			depth++
		case ']':
			depth--
		}
		return depth <= 0 && (c == ' ' || c == '\t')
	})
	if end < 0 {
		return s, fmt.Errorf("URI without suite")
	}
	s.URI = rest[:end]
	words := strings.Fields(rest[end:])
	if len(words) == 0 {
		return s, fmt.Errorf("URI without suite")
	}
	s.Suites, s.Components = words[:1:1], words[1:]
	return s, nil
}

// keyFile gives the first keyring file of a Signed-By value, which may also be
// fingerprints or a whole key.
func keyFile(v string) string {
	first, _, _ := strings.Cut(v, "\n")
	first, _, _ = strings.Cut(strings.TrimSpace(first), ",")
	if f := strings.Fields(first); len(f) > 0 && strings.HasPrefix(f[0], "/") {
		return f[0]
	}
	return ""
}

// disabled reads the Enabled field; apt takes these words for no.
func disabled(v string) bool {
	switch strings.ToLower(v) {
	case "no", "false", "without", "off", "disable", "0":
		return true
	}
	return false
}

func has(list []string, want string) bool {
	for _, w := range list {
		if w == want {
			return true
		}
	}
	return false
}
