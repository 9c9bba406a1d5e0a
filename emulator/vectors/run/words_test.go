package run

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestLast(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"blank", "\n \n\t\n", ""},
		{"one line", "bad chain", "bad chain"},
		{"exception", "Traceback (most recent call last):\n  File \"v.py\", line 3\nValueError: bad\n\n", "ValueError: bad"},
		{"Go panic", "log\npanic: index out of range [3]\n\ngoroutine 1 [running]:\nmain.main()\n", "panic: index out of range [3]"},
		{"Go fatal error", "fatal error: stack overflow\n\nruntime stack:\n", "fatal error: stack overflow"},
		{"Rust panic", "\nthread 'main' panicked at src/main.rs:3:5:\ncalled `unwrap()` on None\nnote: run with `RUST_BACKTRACE=1`\n", "thread 'main' panicked at src/main.rs:3:5: called `unwrap()` on None"},
		{"Rust panic cut", "thread 'main' panicked at src/main.rs:3:5:", "thread 'main' panicked at src/main.rs:3:5:"},
		{"moves the cursor", "\x1b[2Jgone\r\x00\u202e", "?[2Jgone ??"},
		{"no UTF-8", "a\xff\xfeb", "a?b"},
		{"long", strings.Repeat("é", 400), strings.Repeat("é", 150) + "…"},
		{"long, cut inside a character", "x" + strings.Repeat("é", 400), "x" + strings.Repeat("é", 149) + "…"},
	}
	for _, tt := range tests {
		if got := last(tt.text); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The start and the end are kept, however they are written.
func TestWords(t *testing.T) {
	text := strings.Repeat("0123456789", 2000)
	want := text[:keep] + text[len(text)-keep:]
	for _, size := range []int{1, 7, 100, keep - 1, keep, keep + 1, 3 * keep, len(text)} {
		var w words
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if got, err := w.Write([]byte(rest[:n])); got != n || err != nil {
				t.Fatalf("wrote %d of %d: %v", got, n, err)
			}
			rest = rest[n:]
		}
		if diff := cmp.Diff(want, w.String()); diff != "" {
			t.Errorf("in pieces of %d (-want +got):\n%s", size, diff)
		}
	}
	var w words
	_, _ = w.Write([]byte("short"))
	if w.String() != "short" {
		t.Errorf("%q", w.String())
	}
}

func FuzzLast(f *testing.F) {
	f.Add("panic: x\n\ngoroutine 1")
	f.Add("thread 'main' panicked at a:\nb")
	f.Add("\x1b]0;title\x07\xff")
	f.Fuzz(func(t *testing.T, text string) {
		got := last(text)
		if !utf8.ValidString(got) || len(got) > maxDetail+len("…") {
			t.Errorf("%q", got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Errorf("%q holds %q", got, r)
			}
		}
	})
}
