package toolchain

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
	"golang.org/x/term"
)

// Bars shows a bar for each stage on a terminal, and keeps the finished ones as
// lines.
func Bars(w io.Writer) ClosableProgress {
	pw := progress.NewWriter()
	pw.SetOutputWriter(w)
	pw.SetUpdateFrequency(100 * time.Millisecond)
	pw.SetTrackerLength(24)
	pw.SetMessageLength(48)
	pw.SetTrackerPosition(progress.PositionRight)
	style := progress.StyleDefault
	style.Visibility.ETA = false
	style.Visibility.Speed = false
	style.Options.TimeInProgressPrecision = 100 * time.Millisecond
	style.Options.TimeDonePrecision = 100 * time.Millisecond
	pw.SetStyle(style)
	if f, ok := w.(*os.File); ok {
		// It looks by itself for standard output only; lines that wrap would make
		// it repeat them.
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			pw.SetTerminalWidth(width)
		}
	}
	return &bars{pw: pw, done: make(chan struct{})}
}

type bars struct {
	pw    progress.Writer
	begin sync.Once // shows nothing until there is something
	shown bool
	done  chan struct{}
}

func (b *bars) show() {
	b.begin.Do(func() {
		b.shown = true
		go func() {
			defer close(b.done)
			b.pw.Render()
		}()
	})
}

// Stage implements Progress.
func (b *bars) Stage(name string, total int64, unit Unit) Stage {
	units := progress.UnitsDefault
	switch unit {
	case Bytes:
		units = progress.UnitsBytes
	case Percent:
		units.Notation, units.NotationPosition = "%", progress.UnitsNotationPositionAfter
	}
	t := &progress.Tracker{Message: "tool chain   " + name, Total: total, Units: units, AutoStopDisabled: true}
	b.pw.AppendTracker(t)
	b.show()
	return &bar{t: t, name: name, total: total}
}

// Note implements Progress.
func (b *bars) Note(text string) {
	b.pw.Log("%s", "tool chain   "+text)
	b.show()
}

// Close implements ClosableProgress.
func (b *bars) Close() error {
	b.begin.Do(func() {}) // nothing begins after this
	if !b.shown {
		return nil
	}
	// A Stop that comes before Render has set itself up is lost, hence again.
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		b.pw.Stop()
		select {
		case <-b.done:
			return nil
		case <-again.C:
		}
	}
}

type bar struct {
	t     *progress.Tracker
	name  string
	total int64
}

// Set implements Stage.
func (s *bar) Set(done int64) { s.t.SetValue(done) }

// End implements Stage.
func (s *bar) End(detail string, err error) {
	if err != nil {
		s.t.UpdateMessage(fmt.Sprintf("tool chain   %s: %v", s.name, err))
		s.t.MarkAsErrored()
		return
	}
	if detail != "" {
		s.t.UpdateMessage(fmt.Sprintf("tool chain   %s: %s", s.name, detail))
	}
	if s.total > 0 {
		s.t.SetValue(s.total)
	}
	s.t.MarkAsDone()
}
