package main

import (
	"bytes"
	"io"
	"unicode/utf8"

	"github.com/nitrolab/nitrolab/emulator/qemu"
)

// consoleWriter makes w safe for what a guest printed, if it is a terminal.
func consoleWriter(w io.Writer) io.Writer {
	if isTerminal(w) {
		return &printable{w: w}
	}
	return w
}

// printable passes on what [qemu.Printable] leaves. A piece may end inside an
// escape sequence or a character; that much is kept for the next one.
type printable struct {
	w    io.Writer
	kept []byte
}

// maxKept is the longest end that is kept: real escape sequences are shorter.
const maxKept = 64

func (p *printable) Write(b []byte) (int, error) {
	all := append(p.kept, b...)
	n := len(all) - unfinished(all)
	p.kept = bytes.Clone(all[n:])
	if _, err := io.WriteString(p.w, qemu.Printable(all[:n])); err != nil {
		return 0, err
	}
	return len(b), nil
}

// unfinished is how many bytes at the end of b may go on in what follows.
func unfinished(b []byte) int {
	tail := b[max(0, len(b)-maxKept):]
	if i := bytes.LastIndexByte(tail, 0x1b); i >= 0 {
		sequence := tail[i+1:]
		if len(sequence) == 0 || sequence[0] == '[' && !bytes.ContainsFunc(sequence[1:], final) {
			return len(tail) - i
		}
	}
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if r := b[len(b)-n:]; utf8.RuneStart(r[0]) {
			if utf8.FullRune(r) {
				break
			}
			return n
		}
	}
	return 0
}

// final tells the last byte of a control sequence (ECMA-48, 5.4).
func final(r rune) bool { return r >= 0x40 && r <= 0x7e }
