package qemu

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestScanner(t *testing.T) {
	const panicked, failed = "the guest panicked", "the guest kernel failed"
	tests := []struct {
		name, output string
		want         *Finding
	}{
		{"healthy", "[ 0.1] Linux version 6.12\r\n[ 0.2] panic=30 on the command line\r\n", nil},
		{
			"no init", "[    3.41] Kernel panic - not syncing: No working init found.  Try passing init= option to kernel.\r\n",
			&Finding{panicked, "[    3.41] Kernel panic - not syncing: No working init found.  Try passing init= option to kernel.", "the image's ramdisk holds no /init that can run"},
		},
		{
			"no root", "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n",
			&Finding{panicked, "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)", "the kernel found no ramdisk with an /init, and no disk"},
		},
		{
			"init ended", "x\nKernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\nmore\n",
			&Finding{panicked, "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100", "the image's /init ended; its last lines are above the panic"},
		},
		{"oops", "Oops: 0002 [#1] SMP\n", &Finding{failed, "Oops: 0002 [#1] SMP", ""}},
		{"bug", "kernel BUG at mm/slub.c:1!\n", &Finding{failed, "kernel BUG at mm/slub.c:1!", ""}},
		{"fault", "BUG: unable to handle page fault for address: 0\n", &Finding{failed, "BUG: unable to handle page fault for address: 0", ""}},
		{
			"decompressor", "\n\ncrc error\n\n -- System halted\n",
			&Finding{"the guest kernel did not unpack itself", "-- System halted", "the kernel image is damaged, or the memory too small for it"},
		},
		{"colours and tricks", "\x1b[31mOops: \x1b[0m1\x07\x1b]0;title\n", &Finding{failed, "Oops: 1]0;title", ""}},
		{"line without end", strings.Repeat("x", 10*maxLine) + "Oops: 1\n", nil},
		{"not finished", "Oops: 1", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, step := range []int{1, 7, len(tt.output)} {
				var s scanner
				var got *Finding
				for b := []byte(tt.output); len(b) > 0 && got == nil; b = b[min(step, len(b)):] {
					got = s.write(b[:min(step, len(b))])
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("in pieces of %d (-want +got):\n%s", step, diff)
				}
				if cap(s.line) > 2*maxLine {
					t.Errorf("scanner holds %d bytes", cap(s.line))
				}
			}
		})
	}
}

func TestPrintable(t *testing.T) {
	tests := []struct{ in, want string }{
		{"plain\ttext\r\n", "plain\ttext\n"},
		{"\x1b[1;31mred\x1b[0m", "red"},
		{"\x1b[2J\x1b[H\x1bc", "c"},
		{"\x1b[", ""},
		{"\x1b", ""},
		{"\x1b[?25l!", "!"},
		{"a\x00b\x7fc\u009bd", "abcd"},
		{"\xff\xfe", "\ufffd\ufffd"},
		{"größer", "größer"},
	}
	for _, tt := range tests {
		if got := Printable([]byte(tt.in)); got != tt.want {
			t.Errorf("Printable(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

// FuzzConsoleOutput: whatever a guest prints, what people see is harmless, and
// the scanner finds the same in one piece and in two.
func FuzzConsoleOutput(f *testing.F) {
	f.Add([]byte("[ 1.0] Kernel panic - not syncing: No working init found\r\n"), 10)
	f.Add([]byte("\x1b[31;1mOops: \x1b[0m\n-- System halted\n"), 3)
	f.Add([]byte("\xc2\x9b31m\n"), 1)
	f.Fuzz(func(t *testing.T, out []byte, cut int) {
		s := Printable(out)
		if !utf8.ValidString(s) {
			t.Errorf("%q is no UTF-8", s)
		}
		for _, r := range s {
			if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
				t.Errorf("%q has the control character %U", s, r)
			}
		}
		var one, two scanner
		whole := one.write(out)
		cut = min(max(cut, 0), len(out))
		parts := two.write(out[:cut])
		if parts == nil {
			parts = two.write(out[cut:])
		}
		if diff := cmp.Diff(whole, parts); diff != "" {
			t.Errorf("in two pieces (-one +two):\n%s", diff)
		}
	})
}

func TestReports(t *testing.T) {
	boot := &BootError{
		Title:     "enclave did not send its heartbeat within 180 s: the guest panicked",
		Finding:   &Finding{"the guest panicked", "[ 3.41] Kernel panic - not syncing: No working init found", "the image's ramdisk holds no /init that can run"},
		Console:   []byte("[ 3.40] before\r\n\r\n[ 3.41] Kernel panic - not syncing: No working init found\r\n[ 3.42] Call Trace:\r\n"),
		Reproduce: "qemu -M microvm",
		Kept:      "./nitrolab-artifacts/enclave-1/",
	}
	want := `enclave did not send its heartbeat within 180 s: the guest panicked
  console, last lines:
    [ 3.40] before
    [ 3.41] Kernel panic - not syncing: No working init found
  the image's ramdisk holds no /init that can run
  to reproduce: qemu -M microvm (kept in ./nitrolab-artifacts/enclave-1/)
`
	if diff := cmp.Diff(want, boot.Report()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if got, want := boot.Error(), boot.Title+": "+boot.Finding.Line; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	lost := &BootError{Title: "t", Finding: boot.Finding, Console: []byte(strings.Repeat("later\n", 30))}
	if !strings.Contains(lost.Report(), boot.Finding.Line) {
		t.Errorf("a finding that scrolled away is missing:\n%s", lost.Report())
	}
	infra := &InfraError{Title: "qemu: start QEMU", Err: ErrCrashed, Stderr: []byte("a\nqemu: no such device\n")}
	want = `qemu: start QEMU: QEMU ended unexpectedly
  QEMU, last lines:
    a
    qemu: no such device
`
	if diff := cmp.Diff(want, infra.Report()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if got, want := infra.Error(), "qemu: start QEMU: QEMU ended unexpectedly: qemu: no such device"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
}
