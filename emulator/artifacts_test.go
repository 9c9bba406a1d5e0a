package emulator

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/emulator/qemu"
)

// The line still means the same to a shell, in a folder of any name.
func TestMovePath(t *testing.T) {
	for _, from := range []string{"/run/user/0/host.state/enclave-1", "/run/my user's/state"} {
		for _, to := range []string{"/kept", "/home/me/my projects/it's $HOME & more", `/a\b"c`} {
			line := qemu.ShellQuote("printf", `%s\n`, "-initrd", from+"/initramfs", "x="+from) + "  # a note about " + from
			out, err := exec.Command("/bin/sh", "-c", movePath(line, from, to)).Output()
			want := fmt.Sprintf("-initrd\n%s/initramfs\nx=%[1]s\n", to)
			if err != nil || string(out) != want {
				t.Errorf("from %s to %s: %q, %v; want %q", from, to, out, err, want)
			}
		}
	}
}

func TestLastLines(t *testing.T) {
	console := []byte("one\r\n\r\n  \ntwo\x1b[31m red\n\x07three\nfo\xffur")
	if diff := cmp.Diff([]string{"two red", "three", "fo\ufffdur"}, lastLines(console, 3)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if got := lastLines(nil, 3); len(got) != 0 {
		t.Errorf("lines of nothing: %q", got)
	}
}

// With KeepEnclaveDirs everything can be saved later, once more too.
func TestSaveArtifacts(t *testing.T) {
	h := newFakeHost(t, "echo", func(c *Config) { c.KeepEnclaveDirs, c.ArtifactsDir = true, "" })
	running := h.start(t, small(t))
	gone := h.start(t, small(t))
	say("Kernel panic - not syncing: x")(t, gone)
	ended(t, gone)
	var boot *qemu.BootError
	if !errors.As(gone.Err(), &boot) || boot.Kept != "" {
		t.Errorf("%v says that it is kept in %q", gone.Err(), boot.Kept)
	}
	for range 2 {
		dir := filepath.Join(t.TempDir(), "a", "b")
		kept, err := h.SaveArtifacts(dir)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, a := range kept {
			ids = append(ids, a.ID)
			if a.Dir != filepath.Join(dir, a.ID) {
				t.Errorf("%s is in %s", a.ID, a.Dir)
			}
			for _, name := range []string{"console.log", "qemu.log", "command.sh", "initramfs"} {
				if _, err := os.Stat(filepath.Join(a.Dir, name)); err != nil {
					t.Error(err)
				}
			}
			if script, err := os.ReadFile(filepath.Join(a.Dir, "command.sh")); err != nil || bytes.Contains(script, []byte(h.Dir())) {
				t.Errorf("command.sh: %v\n%s", err, script)
			}
			if want := a.ID == gone.ID(); strings.Contains(strings.Join(a.ConsoleTail, "\n"), "Kernel panic") != want {
				t.Errorf("console of %s: %q; panicked: %v", a.ID, a.ConsoleTail, want)
			}
		}
		want := []string{running.ID(), gone.ID()}
		if running.ID() > gone.ID() { // started in the same millisecond
			want = []string{gone.ID(), running.ID()}
		}
		if diff := cmp.Diff(want, ids); diff != "" {
			t.Errorf("enclaves (-want +got):\n%s", diff)
		}
	}
}

// An enclave whose artifacts cannot be kept says so in the log only.
func TestArtifactsCannotBeKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := newFakeHost(t, "panic", func(c *Config) { c.ArtifactsDir = file })
	e := h.start(t, small(t))
	ended(t, e)
	var boot *qemu.BootError
	if !errors.As(e.Err(), &boot) || boot.Kept != "" {
		t.Errorf("error %v, kept in %q; want nothing kept", e.Err(), boot.Kept)
	}
}

func TestReport(t *testing.T) {
	boot := &qemu.BootError{Title: "the guest panicked", Reproduce: "qemu -x"}
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"plain", errors.New("plain"), "plain"},
		{"boot", boot, "the guest panicked\n  to reproduce: qemu -x"},
		{"wrapped", fmt.Errorf("run: %w", errors.Join(boot, errors.New("and more"))), "the guest panicked\n  to reproduce: qemu -x"},
	}
	for _, tt := range tests {
		if got := Report(tt.err); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
