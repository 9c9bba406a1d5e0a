package qemu

import (
	"bytes"
	"strings"
)

// A Finding is a line on the console that says why a guest cannot go on. Any
// program in the guest can print such a line: it explains, it proves nothing.
type Finding struct {
	Title string // "the guest panicked"
	Line  string // what the guest printed, made printable
	Hint  string // what that usually means; may be empty
}

// signs are searched for in each line, in this order. The texts are those of
// Linux: kernel/panic.c, arch/x86/kernel/dumpstack.c, mm/oom_kill.c,
// init/main.c, init/do_mounts.c, arch/x86/boot/compressed/error.c.
var signs = []struct{ text, title string }{
	{"Kernel panic - not syncing", "the guest panicked"},
	{"Oops: ", "the guest kernel failed"},
	{"BUG: unable to handle", "the guest kernel failed"},
	{"kernel BUG at ", "the guest kernel failed"},
	{"-- System halted", "the guest kernel did not unpack itself"},
}

// hints are searched for in the line of a finding.
var hints = []struct{ text, hint string }{
	{"No working init found", "the image's ramdisk holds no /init that can run"},
	{"Requested init ", "the init= of the command line is not in the ramdisk or cannot run"},
	{"Unable to mount root fs", "the kernel found no ramdisk with an /init, and no disk"},
	{"Attempted to kill init", "the image's /init ended; its last lines are above the panic"},
	{"No init found", "the image's ramdisk holds no /init that can run"},
	{"Out of memory", "the guest needs more memory"},
	{"System is deadlocked on memory", "the guest needs more memory"},
	{"Failed to allocate", "the guest needs more memory"},
	{"IO-APIC + timer doesn't work", "the machine lacks a timer: keep pit=on and pic=on"},
	{"System halted", "the kernel image is damaged, or the memory too small for it"},
}

// maxLine is how much of one line is looked at. A guest may print a line without
// end.
const maxLine = 1 << 10

// A scanner looks for signs in a stream. It works on whole lines, because a read
// may end anywhere.
type scanner struct{ line []byte }

// write takes the next bytes and returns the first finding in them, if any.
func (s *scanner) write(p []byte) *Finding {
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		part := p
		if i >= 0 {
			part, p = p[:i], p[i+1:]
		} else {
			p = nil
		}
		if room := maxLine - len(s.line); room > 0 {
			s.line = append(s.line, part[:min(room, len(part))]...)
		}
		if i < 0 {
			return nil
		}
		f := examine(s.line)
		s.line = s.line[:0]
		if f != nil {
			return f
		}
	}
	return nil
}

func examine(line []byte) *Finding {
	for _, sign := range signs {
		if !bytes.Contains(line, []byte(sign.text)) {
			continue
		}
		f := &Finding{Title: sign.title, Line: strings.TrimSpace(Printable(line))}
		for _, h := range hints {
			if strings.Contains(f.Line, h.text) {
				f.Hint = h.hint
				break
			}
		}
		return f
	}
	return nil
}

// Printable makes guest output safe for a terminal: line ends and tabs stay,
// escape sequences and other control characters go, bytes that are no UTF-8
// become U+FFFD.
func Printable(b []byte) string {
	var out strings.Builder
	for _, r := range string(stripEscapes(b)) {
		if r == '\n' || r == '\t' || r >= ' ' && r != 0x7f && (r < 0x80 || r >= 0xa0) {
			out.WriteRune(r)
		}
	}
	return out.String()
}

// stripEscapes removes ANSI control sequences (ECMA-48, 5.4), so that their
// parameters do not stay behind as text.
func stripEscapes(b []byte) []byte {
	if bytes.IndexByte(b, 0x1b) < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != 0x1b {
			out = append(out, b[i])
			continue
		}
		if i+1 >= len(b) || b[i+1] != '[' {
			continue
		}
		j := i + 2
		for j < len(b) && b[j] >= 0x20 && b[j] <= 0x3f { // parameters
			j++
		}
		if j < len(b) && b[j] >= 0x40 && b[j] <= 0x7e { // final byte
			j++
		}
		i = j - 1
	}
	return out
}
