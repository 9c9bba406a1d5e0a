package qemu

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRing compares it with the whole stream, for writes and reads of all sizes.
func TestRing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const size = 64
	r := newRing(size)
	var all []byte
	var off int64
	for range 5000 {
		p := make([]byte, rng.IntN(3*size))
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		r.write(p)
		all = append(all, p...)
		if r.end != int64(len(all)) || r.start() != max(0, r.end-size) {
			t.Fatalf("ring is at %d to %d after %d bytes", r.start(), r.end, len(all))
		}
		n := rng.IntN(2 * size)
		if want := all[max(int(r.start()), len(all)-n):]; !bytes.Equal(r.tail(n), want) {
			t.Fatalf("tail(%d) = %x, want %x", n, r.tail(n), want)
		}
		from := max(off, r.start())
		buf := make([]byte, rng.IntN(size))
		m, next := r.readAt(buf, off)
		if want := all[from:min(from+int64(len(buf)), r.end)]; !bytes.Equal(buf[:m], want) || next != from+int64(m) {
			t.Fatalf("readAt(%d, %d) = %x, next %d; want %x", len(buf), off, buf[:m], next, want)
		}
		off = next
	}
}

func BenchmarkConsoleTake(b *testing.B) {
	c := &Console{ring: newRing(consoleBacklog), panicked: make(chan struct{})}
	c.changed.L = &c.mu
	line := []byte(strings.Repeat("[    1.234567] a line as a kernel prints it\r\n", 100))
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		c.take(line)
	}
}

func TestLogFileEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := createLog(path, 10)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		l.write([]byte("123456"))
	}
	l.close()
	l.write([]byte("late"))
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := "1234561234\n[the log ends here: its size limit is reached]\n"; string(got) != want {
		t.Errorf("log is %q, want %q", got, want)
	}
	var none *logFile
	none.write([]byte("x"))
	none.close()
}
