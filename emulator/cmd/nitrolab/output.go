package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

// A printer writes for a person: with colour on a terminal, plain lines into a
// pipe.
type printer struct {
	w      io.Writer
	colour bool
	start  time.Time
}

func newPrinter(w io.Writer) *printer {
	// NO_COLOR is the convention of no-color.org, "dumb" that of terminfo.
	colour := isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return &printer{w: w, colour: colour, start: time.Now()}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (p *printer) paint(c text.Color, s string) string {
	if !p.colour {
		return s
	}
	return c.Sprint(s)
}

func (p *printer) good(s string) string { return p.paint(text.FgGreen, s) }
func (p *printer) bad(s string) string  { return p.paint(text.FgRed, s) }
func (p *printer) dim(s string) string  { return p.paint(text.Faint, s) }

func (p *printer) line(format string, args ...any) {
	fmt.Fprintf(p.w, format+"\n", args...)
}

// begin makes now the zero of the timeline.
func (p *printer) begin() { p.start = time.Now() }

// at is one line of the timeline, stamped with the time since begin.
func (p *printer) at(format string, args ...any) {
	stamp := fmt.Sprintf("%7.2f s", time.Since(p.start).Seconds())
	p.line("%s  %s", p.dim(stamp), fmt.Sprintf(format, args...))
}

// more continues the line above, under the same time.
func (p *printer) more(format string, args ...any) {
	p.line("%s  %s", strings.Repeat(" ", 9), fmt.Sprintf(format, args...))
}

// table prints rows, the first of which is the header.
func (p *printer) table(rows []table.Row) {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.AppendHeader(rows[0])
	t.AppendRows(rows[1:])
	for line := range strings.Lines(t.Render()) {
		p.line("%s", strings.TrimRight(line, " \n"))
	}
}

// oneLine is text with its line ends as spaces.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// shortHex is the start and the end of a long value, enough to compare by eye.
func shortHex(b []byte) string {
	s := fmt.Sprintf("%x", b)
	if len(s) <= 12 {
		return s
	}
	return s[:8] + "…" + s[len(s)-2:]
}

// printJSON writes v indented by two, as nitro-cli does.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
