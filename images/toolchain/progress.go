package toolchain

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// A Progress is told what goes on, for a person who waits. Its methods may be
// called from several goroutines, and return at once. Whoever made it closes it.
type Progress interface {
	// Stage begins something of total units; zero if it is not known how many.
	Stage(name string, total int64, unit Unit) Stage
	// Note says one sentence.
	Note(text string)
}

// A Stage is something that goes on.
type Stage interface {
	// Set says how many units are done.
	Set(done int64)
	// End ends the stage. detail, which may be empty, says what came of it.
	End(detail string, err error)
}

// A Unit is what a stage counts.
type Unit int

// The units.
const (
	Count Unit = iota
	Bytes
	Percent
)

// A ClosableProgress is a Progress to be closed after use.
type ClosableProgress interface {
	Progress
	// Close ends what is shown, and waits until it is written.
	Close() error
}

// NewProgress shows progress on f: as bars if it is a terminal, else as plain
// lines.
func NewProgress(f *os.File) ClosableProgress {
	if term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		return Bars(f)
	}
	return PlainLines(f)
}

// PlainLines shows one line for each stage, when it ends, with its time and
// amount, and each note.
func PlainLines(w io.Writer) ClosableProgress { return &plain{w: w} }

type plain struct {
	mu sync.Mutex
	w  io.Writer
}

// Stage implements Progress.
func (p *plain) Stage(name string, total int64, unit Unit) Stage {
	return &plainStage{p: p, name: name, total: total, unit: unit, began: time.Now()}
}

// Note implements Progress.
func (p *plain) Note(text string) { p.line(text) }

// Close implements ClosableProgress.
func (p *plain) Close() error { return nil }

// line writes one line. Output that fails is not worth failing for.
func (p *plain) line(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.w, "tool chain   %s\n", text)
}

type plainStage struct {
	p     *plain
	name  string
	total int64
	unit  Unit
	began time.Time
}

// Set implements Stage.
func (s *plainStage) Set(int64) {}

// End implements Stage.
func (s *plainStage) End(detail string, err error) {
	if err != nil {
		s.p.line(fmt.Sprintf("%-16s failed after %.1f s: %v", s.name, time.Since(s.began).Seconds(), err))
		return
	}
	amount := ""
	if s.unit == Bytes {
		amount = fmt.Sprintf("%.1f MB", float64(s.total)/1e6)
	}
	s.p.line(fmt.Sprintf("%-16s %8s %6.1f s   %s", s.name, amount, time.Since(s.began).Seconds(), detail))
}

// silent is a Progress that nobody sees.
type silent struct{}

// Stage implements Progress.
func (silent) Stage(string, int64, Unit) Stage { return silent{} }

// Note implements Progress.
func (silent) Note(string) {}

// Set implements Stage.
func (silent) Set(int64) {}

// End implements Stage.
func (silent) End(string, error) {}
