package review

import (
	"strings"
	"unicode"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
)

// A Severity says what a finding means.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // the key, or what it protects, can be had without the image
	Warning Severity = "warning" // it can be under some circumstances, or the enclave is locked out
	Note    Severity = "note"    // worth knowing
)

// A Finding is something wrong with a policy.
type Finding struct {
	Severity  Severity `json:"severity"`
	Statement int      `json:"statement"` // its index
	Sid       string   `json:"sid,omitempty"`
	Actions   []string `json:"actions,omitempty"` // that it is about
	Text      string   `json:"text"`              // what is wrong, and what would be right
}

// Where is how a person finds the statement, such as "statement 1 (EnclaveUse)".
func (f Finding) Where() string {
	return nameOf(&policy.Statement{Index: f.Statement, Sid: f.Sid})
}

// printable is text of a policy that moves no cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

// list joins with commas and a last "and".
func list(items []string) string {
	if n := len(items); n > 1 {
		return strings.Join(items[:n-1], ", ") + " and " + items[n-1]
	}
	return strings.Join(items, "")
}
