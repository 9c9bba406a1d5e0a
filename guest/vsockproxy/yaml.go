package vsockproxy

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits of an allowlist.
const (
	MaxAllowlist = 64 << 10 // bytes of the file
	maxEntries   = 1024
	maxHost      = 253 // characters of a name (RFC 1035 section 2.3.4)
)

// An AllowlistError is what is wrong with an allowlist.
type AllowlistError struct {
	Line int // 0 if it is about the whole
	Text string
}

// Error implements error.
func (e *AllowlistError) Error() string {
	if e.Line == 0 {
		return "allowlist: " + e.Text
	}
	return fmt.Sprintf("allowlist: line %d: %s", e.Line, e.Text)
}

// ParseAllowlist reads the file that AWS ships and those that are written like it:
// a YAML mapping with the one name `allowlist` and a sequence of mappings with
// `address` and `port`, each entry on a line of its own in braces or with its names
// on lines below each other. Comments are allowed, and a value may be in quotes.
//
//	allowlist:
//	- {address: kms.us-east-1.amazonaws.com, port: 443}
//	- address: kms.eu-west-1.amazonaws.com
//	  port: 443
//
// Anything else that YAML has, a name that is not one of these, and a name that
// comes twice are an *[AllowlistError].
func ParseAllowlist(text string) (Allowlist, error) {
	if len(text) > MaxAllowlist {
		return nil, &AllowlistError{0, fmt.Sprintf("the file has more than %d bytes", MaxAllowlist)}
	}
	var p parser
	for content := range strings.Lines(text) {
		p.line++
		content = strings.TrimRight(content, " \r\n")
		if body := strings.TrimLeft(content, " "); body != "" && body[0] != '#' {
			if err := p.take(len(content)-len(body), body); err != nil {
				return nil, err
			}
		}
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	if !p.begun {
		return nil, &AllowlistError{0, "`allowlist` is missing"}
	}
	return p.list, nil
}

// A parser reads line by line.
type parser struct {
	line  int
	begun bool // `allowlist:` was read
	list  Allowlist
	dash  int // column of the dashes, -1 before the first; valid if begun

	entry *entry // under way: its names are on the lines below each other
}

// An entry is a mapping of the sequence, as far as it is read.
type entry struct {
	line   int
	column int // of its names, for the block form
	Endpoint
}

func (p *parser) fault(format string, args ...any) error {
	return &AllowlistError{p.line, fmt.Sprintf(format, args...)}
}

// take reads a line that is not empty, body from column on.
func (p *parser) take(column int, body string) error {
	if strings.ContainsRune(body, '\t') {
		return p.fault("a tab; YAML has spaces here")
	}
	switch {
	case !p.begun:
		if p.line == 1 && body == "---" {
			return nil
		}
		if name, rest, ok := strings.Cut(body, ":"); !ok || column != 0 || name != "allowlist" || comment(rest) != "" {
			return p.fault("%q; allowed is `allowlist:`", short(body))
		}
		p.begun, p.dash = true, -1
		return nil
	case strings.HasPrefix(body, "- "):
		return p.item(column, body)
	case p.entry != nil && column == p.entry.column:
		return p.pair(p.entry, body)
	}
	return p.fault("%q; allowed is an entry such as `- {address: kms.us-east-1.amazonaws.com, port: 443}`", short(body))
}

// item reads the first line of an entry.
func (p *parser) item(column int, body string) error {
	if err := p.finish(); err != nil {
		return err
	}
	if p.dash < 0 {
		p.dash = column
	}
	if column != p.dash {
		return p.fault("the dash is not below the one before")
	}
	if len(p.list) == maxEntries {
		return p.fault("more than %d entries", maxEntries)
	}
	rest := strings.TrimLeft(body[2:], " ")
	p.entry = &entry{line: p.line, column: column + len(body) - len(rest)}
	if !strings.HasPrefix(rest, "{") {
		return p.pair(p.entry, rest)
	}
	inside, after, ok := strings.Cut(rest[1:], "}")
	if !ok || comment(after) != "" {
		return p.fault("%q; an entry in braces ends with `}` on its line", short(body))
	}
	for pair := range strings.SplitSeq(inside, ",") {
		if err := p.pair(p.entry, strings.TrimSpace(pair)); err != nil {
			return err
		}
	}
	return p.finish()
}

// finish puts the entry under way into the list.
func (p *parser) finish() error {
	if p.entry == nil {
		return nil
	}
	switch {
	case p.entry.Host == "":
		return &AllowlistError{p.entry.line, "`address` is missing"}
	case p.entry.Port == 0:
		return &AllowlistError{p.entry.line, "`port` is missing"}
	}
	p.list = append(p.list, p.entry.Endpoint)
	p.entry = nil
	return nil
}

// pair reads "name: value".
func (p *parser) pair(e *entry, text string) error {
	name, value, ok := strings.Cut(text, ": ")
	if !ok {
		return p.fault("%q; allowed are `address: NAME` and `port: NUMBER`", short(text))
	}
	value, quoted, err := p.scalar(value)
	if err != nil {
		return err
	}
	switch name {
	case "address":
		if e.Host != "" {
			return p.fault("`address` comes twice")
		}
		if !validHost(value) {
			return p.fault("`address` is %q; allowed are names and addresses of up to %d characters", short(value), maxHost)
		}
		e.Host = value
	case "port":
		if e.Port != 0 {
			return p.fault("`port` comes twice")
		}
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil || n == 0 || quoted || value[0] == '0' {
			return p.fault("`port` is %q; allowed are 1 to 65535", short(value))
		}
		e.Port = uint16(n)
	default:
		return p.fault("%q; allowed are `address` and `port`", short(name))
	}
	return nil
}

// scalar is a plain value or one in quotes, with a comment behind it or not.
func (p *parser) scalar(text string) (value string, quoted bool, err error) {
	text = strings.TrimLeft(text, " ")
	if text == "" {
		return "", false, p.fault("a value is missing")
	}
	if q := text[:1]; q == `"` || q == "'" {
		value, after, ok := strings.Cut(text[1:], q)
		if !ok || comment(after) != "" {
			return "", false, p.fault("%s; the quote does not end it", short(text))
		}
		return value, true, nil
	}
	value, _, _ = strings.Cut(text, " #")
	return strings.TrimRight(value, " "), false, nil
}

// comment returns what is in text but spaces and a comment.
func comment(text string) string {
	trimmed := strings.TrimLeft(text, " ")
	if strings.HasPrefix(trimmed, "#") && trimmed != text {
		return ""
	}
	return trimmed
}

// validHost allows the characters of names, addresses and zones.
func validHost(s string) bool {
	if s == "" || len(s) > maxHost {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._:%", r)
	})
}

// short keeps a message to one line.
func short(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}
