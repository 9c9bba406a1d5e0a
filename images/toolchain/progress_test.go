package toolchain

import (
	"bytes"
	"errors"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlainLines(t *testing.T) {
	var b bytes.Buffer
	p := PlainLines(&b)
	s := p.Stage("packages", 72_400_000, Bytes)
	s.Set(1000)
	s.End("92 packages", nil)
	p.Stage("package lists", 100, Percent).End("trixie", nil)
	p.Stage("unpack qemu", 3, Count).End("", errors.New("no room"))
	p.Note("waiting")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	want := `tool chain   packages          72.4 MB    0.0 s   92 packages
tool chain   package lists                0.0 s   trixie
tool chain   unpack qemu      failed after 0.0 s: no room
tool chain   waiting
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// A safeBuffer may be written to while it is read.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestBars(t *testing.T) {
	t.Run("nothing to show", func(t *testing.T) {
		var b safeBuffer
		if err := Bars(&b).Close(); err != nil || b.String() != "" {
			t.Errorf("wrote %q, %v", b.String(), err)
		}
	})
	t.Run("stages and notes", func(t *testing.T) {
		var b safeBuffer
		p := Bars(&b)
		p.Note("cache is damaged: x")
		s := p.Stage("packages", 72_400_000, Bytes)
		s.Set(36_200_000)
		s.End("92 packages", nil)
		p.Stage("unpack qemu", 3, Count).End("", errors.New("no room"))
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		out := regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]").ReplaceAllString(b.String(), "")
		for _, want := range []string{"cache is damaged: x", "packages: 92 packages", "72.40MB", "no room"} {
			if !strings.Contains(out, want) {
				t.Errorf("%q does not show %q", out, want)
			}
		}
	})
	t.Run("not a terminal", func(t *testing.T) {
		f, err := os.CreateTemp(t.TempDir(), "")
		must(t, err)
		defer f.Close()
		if _, ok := NewProgress(f).(*plain); !ok {
			t.Error("a file gets bars")
		}
	})
}
