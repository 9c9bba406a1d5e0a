package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/nitrolab/nitrolab/emulator/qemu"
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
// the message and its attributes, such as "heartbeat: after 4.12 s", no time and
// no level below warnings.
type lineHandler struct {
	level slog.Level
	line  func(string)
}

func (h lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h lineHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	switch {
	case r.Level >= slog.LevelError:
		b.WriteString("error: ")
	case r.Level >= slog.LevelWarn:
		b.WriteString("warning: ")
	}
	b.WriteString(r.Message)
	separator := ": "
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, "%s%s %v", separator, a.Key, a.Value)
		separator = ", "
		return true
	})
	// What a guest did may be part of it, in its own words.
	h.line(qemu.Printable([]byte(b.String())))
	return nil
}

// WithAttrs drops what is bound to a logger: the enclave's id, which is on every
// line and which its user knows.
func (h lineHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h lineHandler) WithGroup(string) slog.Handler { return h }
