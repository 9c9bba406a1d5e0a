package qemu

import (
	"bytes"
	"fmt"
	"strings"
)

// Three kinds of error leave this package. What the caller asked for and cannot
// be is a plain error that names the field. What the guest did is a *BootError.
// What the host or QEMU did is an *InfraError.

// A BootError is the guest's fault: it panicked, hung, or ended before its time.
type BootError struct {
	Title     string // one sentence: what was waited for, and what happened
	Finding   *Finding
	Console   []byte // its tail, as the guest printed it
	Reproduce string // a command line to paste into a shell
	Kept      string // the directory with console and command line, if any was kept
}

func (e *BootError) Error() string {
	if e.Finding != nil {
		return e.Title + ": " + e.Finding.Line
	}
	return e.Title
}

// Report is the error for people, over several lines.
func (e *BootError) Report() string {
	var b strings.Builder
	b.WriteString(e.Title + "\n")
	writeLines(&b, "console, last lines:", e.consoleLines())
	if e.Finding != nil && e.Finding.Hint != "" {
		fmt.Fprintf(&b, "  %s\n", e.Finding.Hint)
	}
	writeReproduce(&b, e.Reproduce, e.Kept)
	return b.String()
}

// consoleLines are the last lines, or with a finding the ones that led to it: a
// stack trace behind it would push them out.
func (e *BootError) consoleLines() []string {
	lines := lastLines(e.Console, len(e.Console))
	if e.Finding != nil {
		for i, l := range lines {
			if strings.TrimSpace(l) == e.Finding.Line {
				return lines[max(0, i+1-findingLines) : i+1]
			}
		}
		lines = append(lines, e.Finding.Line)
	}
	return lines[max(0, len(lines)-reportLines):]
}

// An InfraError is nobody's fault who wrote a guest: QEMU did not start, crashed,
// or was killed from outside.
type InfraError struct {
	Title     string // one sentence
	Err       error  // the cause, nil if Title says it all
	Stderr    []byte // the tail of what QEMU said
	Reproduce string
	Kept      string
}

func (e *InfraError) Error() string {
	s := e.Title
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if line := lastLine(e.Stderr); line != "" {
		s += ": " + line
	}
	return s
}

func (e *InfraError) Unwrap() error { return e.Err }

// Report is the error for people, over several lines.
func (e *InfraError) Report() string {
	var b strings.Builder
	b.WriteString(e.Title)
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	b.WriteString("\n")
	writeLines(&b, "QEMU, last lines:", lastLines(e.Stderr, reportLines))
	writeReproduce(&b, e.Reproduce, e.Kept)
	return b.String()
}

// How many lines a report shows: of a tail, and up to a finding.
const (
	reportLines  = 20
	findingLines = 8
)

func writeLines(b *strings.Builder, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "  %s\n", title)
	for _, l := range lines {
		fmt.Fprintf(b, "    %s\n", l)
	}
}

func writeReproduce(b *strings.Builder, line, kept string) {
	if line == "" {
		return
	}
	fmt.Fprintf(b, "  to reproduce: %s", line)
	if kept != "" {
		fmt.Fprintf(b, " (kept in %s)", kept)
	}
	b.WriteString("\n")
}

// lastLines returns at most n printable lines, blank ones left out.
func lastLines(tail []byte, n int) []string {
	var lines []string
	for l := range bytes.SplitSeq(tail, []byte("\n")) {
		if s := strings.TrimRight(Printable(l), " \t"); s != "" {
			lines = append(lines, s)
		}
	}
	return lines[max(0, len(lines)-n):]
}

func lastLine(tail []byte) string {
	lines := lastLines(tail, 1)
	if len(lines) == 0 {
		return ""
	}
	return strings.TrimSpace(lines[0])
}
