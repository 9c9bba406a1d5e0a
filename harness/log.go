package harness

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// testHandler writes what a Host says into the log of its test, with the time
// since the test began. After the test's end it is silent: a logger may outlive
// it for a moment, and logging then would panic.
type testHandler struct {
	t     testing.TB
	level slog.Level
	attrs string
	state *logState
}

type logState struct {
	mu    sync.Mutex
	began time.Time
	ended bool // guarded by mu
}

func newTestHandler(t testing.TB) slog.Handler {
	h := testHandler{t: t, level: slog.LevelInfo, state: &logState{began: time.Now()}}
	t.Cleanup(func() {
		h.state.mu.Lock()
		defer h.state.mu.Unlock()
		h.state.ended = true
	})
	return h
}

func (h testHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h testHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	fmt.Fprintf(&b, "[%6.2fs] %s %s%s", time.Since(h.state.began).Seconds(), r.Level, r.Message, h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return true
	})
	h.state.mu.Lock()
	defer h.state.mu.Unlock()
	if !h.state.ended {
		h.t.Log(b.String())
	}
	return nil
}

func (h testHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.attrs += fmt.Sprintf(" %s=%v", a.Key, a.Value)
	}
	return h
}

func (h testHandler) WithGroup(string) slog.Handler { return h }
