package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/nitrolab/nitrolab/images/toolchain"
)

// textProgress tells the progress of the tool chain line by line.
func textProgress(line func(string)) toolchain.Progress {
	return toolchain.PlainLines(lineWriter(line))
}

// lineWriter passes complete lines on.
type lineWriter func(string)

func (w lineWriter) Write(p []byte) (int, error) {
	for l := range strings.Lines(string(p)) {
		w(strings.TrimRight(l, "\n"))
	}
	return len(p), nil
}

// lineHandler is a slog.Handler that writes records as short lines for people:
// the message and its attributes, no time and no level below warnings.
type lineHandler struct {
	level slog.Level
	line  func(string)
}

func (h lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h lineHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	if r.Level >= slog.LevelWarn {
		b.WriteString(strings.ToLower(r.Level.String()) + ": ")
	}
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, "  %s: %v", a.Key, a.Value)
		return true
	})
	h.line(b.String())
	return nil
}

// WithAttrs drops what is bound to a logger: the enclave's id, which is on every
// line and which its user knows.
func (h lineHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h lineHandler) WithGroup(string) slog.Handler { return h }
