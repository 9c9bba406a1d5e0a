package run

import (
	"strings"
	"sync"
	"unicode"
)

// keep is how much of a stream's start and end is kept, in bytes each.
const keep = 4 << 10

// maxDetail bounds Result.Detail, in bytes.
const maxDetail = 300

// words keeps the start and the end of what a verifier printed and swallows the
// rest: one that prints without end must not fill the memory, nor block. The
// start holds a panic's message, the end an exception's.
type words struct {
	mu         sync.Mutex
	head, tail []byte
}

func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(b)
	first := min(n, keep-len(w.head))
	w.head = append(w.head, b[:first]...)
	if b = b[first:]; len(b) >= keep {
		w.tail = append(w.tail[:0], b[len(b)-keep:]...)
	} else if over := len(w.tail) + len(b) - keep; over > 0 {
		w.tail = append(w.tail[:copy(w.tail, w.tail[over:])], b...)
	} else {
		w.tail = append(w.tail, b...)
	}
	return n, nil
}

// String is what was kept.
func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.head) + string(w.tail)
}

// last is the line of text that says most about why a program ended: a panic's
// first one, else the last one that is not empty.
func last(text string) string {
	var found string
	rust := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case goPanicked(line):
			return clean(line)
		case rust:
			return clean(found + " " + line) // the message is on the next line
		case strings.HasPrefix(line, "thread '") && strings.Contains(line, " panicked at "):
			found, rust = line, true
		default:
			found = line
		}
	}
	return clean(found)
}

// goPanicked tells the first line that the Go runtime prints of a panic.
func goPanicked(line string) bool {
	return strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")
}

// clean is text on one line, without what moves a cursor, and short.
func clean(text string) string {
	text = oneLine(text)
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "") + "…"
	}
	return text
}

// oneLine is text without line ends and other characters that do not print,
// which XML cannot hold either.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}
