package field

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadWrite(t *testing.T) {
	for _, n := range []int{1, 2, first - 1, first, first + 1, 3*first + 5} {
		content := bytes.Repeat([]byte{0xc5}, n)
		var b bytes.Buffer
		if err := Write(&b, content); err != nil {
			t.Fatal(err)
		}
		b.WriteString("next")
		got, err := Read(iotest.OneByteReader(&b), n)
		if err != nil || !bytes.Equal(got, content) || b.String() != "next" {
			t.Errorf("%d bytes: %d came back, %v, and behind them %q", n, len(got), err, &b)
		}
	}
}

// One write, so that a field is not in two packets if it need not be.
func TestWriteOnce(t *testing.T) {
	w := &counter{}
	if err := Write(w, []byte("content")); err != nil || w.writes != 1 {
		t.Errorf("%d writes, %v", w.writes, err)
	}
	if err := Write(failing{}, []byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v", err)
	}
}

type counter struct{ writes int }

func (c *counter) Write(p []byte) (int, error) { c.writes++; return len(p), nil }

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestReadRefuses(t *testing.T) {
	broken := errors.New("connection broke")
	tests := []struct {
		name string
		in   io.Reader
		want error
	}{
		{"nothing", strings.NewReader(""), io.EOF},
		{"half a length", strings.NewReader("\x00\x00"), io.ErrUnexpectedEOF},
		{"no content", strings.NewReader("\x00\x00\x00\x05"), io.ErrUnexpectedEOF},
		{"half of the content", strings.NewReader("\x00\x00\x00\x05abc"), io.ErrUnexpectedEOF},
		{"half of a long content", strings.NewReader("\x00\x02\x00\x00" + strings.Repeat("x", 100_000)), io.ErrUnexpectedEOF},
		{"no long content", strings.NewReader("\x00\x02\x00\x00"), io.ErrUnexpectedEOF},
		{"zero", strings.NewReader("\x00\x00\x00\x00"), ErrLength},
		{"one too long", strings.NewReader("\x00\x10\x00\x01" + strings.Repeat("x", 1<<20+1)), ErrLength},
		{"greatest", strings.NewReader("\xff\xff\xff\xff"), ErrLength},
		{"broken", iotest.ErrReader(broken), broken},
	}
	for _, tt := range tests {
		if _, err := Read(tt.in, 1<<20); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// A length alone costs no memory.
func TestReadAllocates(t *testing.T) {
	const runs = 10
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		if _, err := Read(strings.NewReader("\x7f\xff\xff\xff"), 1<<31-1); err == nil {
			t.Fatal("no error")
		}
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / runs; n > 4*first {
		t.Errorf("%d bytes for a length that nothing follows", n)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{"", "\x00", "\x00\x00\x00\x00", "\x00\x00\x00\x03abc", "\x00\x00\x00\x03ab", "\xff\xff\xff\xffab", "\x00\x00\x00\x01aX"} {
		f.Add([]byte(s), 16)
	}
	f.Fuzz(func(t *testing.T, b []byte, limit int) {
		limit &= 1<<20 - 1
		r := bytes.NewReader(b)
		got, err := Read(r, limit)
		if err != nil {
			return
		}
		if len(got) < 1 || len(got) > limit {
			t.Fatalf("%d bytes, allowed are 1 to %d", len(got), limit)
		}
		var again bytes.Buffer
		if err := Write(&again, got); err != nil || !bytes.Equal(again.Bytes(), b[:len(b)-r.Len()]) {
			t.Errorf("%q is written as %q, %v", b, &again, err)
		}
	})
}
