package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

// A guest must not write to the terminal of who looks at its console, however
// its output is cut into pieces.
func TestPrintable(t *testing.T) {
	const console = "one\x1b[1;31m red\x1b[0m\r\n\ttwo é 漢 \xff\x07\x1b]0;title\x07\n"
	want := qemu.Printable([]byte(console))
	for size := 1; size <= len(console); size++ {
		var out bytes.Buffer
		p := &printable{w: &out}
		for rest := console; rest != ""; {
			n := min(size, len(rest))
			if written, err := p.Write([]byte(rest[:n])); written != n || err != nil {
				t.Fatalf("Write = %d, %v", written, err)
			}
			rest = rest[n:]
		}
		if out.String() != want {
			t.Errorf("in pieces of %d: %q, want %q", size, out.String(), want)
		}
	}
	// What never ends is not kept for ever.
	var out bytes.Buffer
	p := &printable{w: &out}
	for range 1000 {
		if _, err := p.Write([]byte("\x1b[000000000")); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.kept) > maxKept {
		t.Errorf("%d bytes are kept", len(p.kept))
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add([]byte("a\x1b[31mb"), byte(3))
	f.Add([]byte("\xe6\xbc\xa2\x1b"), byte(1))
	f.Fuzz(func(t *testing.T, console []byte, size byte) {
		var out bytes.Buffer
		p := &printable{w: &out}
		for rest := console; len(rest) > 0; {
			n := min(int(size)+1, len(rest))
			if _, err := p.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if !utf8.Valid(out.Bytes()) || strings.ContainsFunc(out.String(), func(r rune) bool {
			return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0
		}) {
			t.Errorf("%q became %q", console, out.String())
		}
		if len(p.kept) > maxKept {
			t.Errorf("%d bytes are kept", len(p.kept))
		}
	})
}

func TestConsoleWriter(t *testing.T) {
	var pipe bytes.Buffer
	if w := consoleWriter(&pipe); w != &pipe {
		t.Error("what goes into a pipe is changed")
	}
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	if _, ok := consoleWriter(slave).(*printable); !ok {
		t.Error("what goes to a terminal is not filtered")
	}
}

// Colour is for terminals, and there for those who want it.
func TestColour(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if !newPrinter(slave).colour {
		t.Error("no colour on a terminal")
	}
	if newPrinter(&bytes.Buffer{}).colour {
		t.Error("colour in a pipe")
	}
	t.Setenv("NO_COLOR", "1")
	if newPrinter(slave).colour {
		t.Error("colour in spite of NO_COLOR")
	}
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "dumb")
	if newPrinter(slave).colour {
		t.Error("colour on a dumb terminal")
	}
	plain := &printer{}
	if got := plain.good("a") + plain.bad("b") + plain.dim("c"); got != "abc" {
		t.Errorf("without colour %q", got)
	}
	if got := (&printer{colour: true}).bad("b"); !strings.Contains(got, "\x1b[") || !strings.Contains(got, "b") {
		t.Errorf("with colour %q", got)
	}
}

func TestLineHandler(t *testing.T) {
	var lines []string
	log := slog.New(lineHandler{slog.LevelInfo, func(l string) { lines = append(lines, l) }}).With("enclave", "i-1")
	log.Debug("not shown")
	log.Info("heartbeat", "after", "4 s")
	log.Info("plain")
	log.Error("broken")
	log.Warn("forward refused", "forward", "x", "err", "no\x1b[31mpe\a")
	want := []string{"heartbeat: after 4 s", "plain", "error: broken", "warning: forward refused: forward x, err nope"}
	if strings.Join(lines, "|") != strings.Join(want, "|") {
		t.Errorf("lines %q, want %q", lines, want)
	}
}

func TestShortHex(t *testing.T) {
	for want, b := range map[string][]byte{
		"": nil, "0102030405ff": {1, 2, 3, 4, 5, 0xff}, "01020304…07": {1, 2, 3, 4, 5, 6, 7},
	} {
		if got := shortHex(b); got != want {
			t.Errorf("%x is %q, want %q", b, got, want)
		}
	}
}

// A person sees the parts; the packages below them are for who asks.
func TestRecords(t *testing.T) {
	records := []toolchain.Record{
		{Part: "qemu", Source: "debian", Version: "11.1.3", Package: "qemu-system-x86", Suite: "trixie-backports", SHA256: "ab", Path: "/q"},
		{Part: "qemu", Source: "debian", Version: "2.41", Package: "libc6", Suite: "trixie", SHA256: "cd"},
		{Part: "kernel", Source: "explicit", Version: "6.12", Path: "/k"},
	}
	var out bytes.Buffer
	p := &printer{w: &out}
	p.records(records, false)
	want := "part    source    version  package          suite             sha256\n" +
		"qemu    debian    11.1.3   qemu-system-x86  trixie-backports  ab\n" +
		"kernel  explicit  6.12\n" +
		"packages that these need: 1 (--packages lists them)\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	out.Reset()
	p.records(records, true)
	if !strings.Contains(out.String(), "libc6") || strings.Contains(out.String(), "that these need") {
		t.Errorf("all packages:\n%s", &out)
	}
}

func TestPrintJSON(t *testing.T) {
	var out bytes.Buffer
	if err := printJSON(&out, map[string]string{"a": "<b> & é"}); err != nil {
		t.Fatal(err)
	}
	if want := "{\n  \"a\": \"<b> & é\"\n}\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
