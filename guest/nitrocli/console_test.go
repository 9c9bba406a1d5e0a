package nitrocli_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestConsole(t *testing.T) {
	w := newWorld(t)
	info := w.start("--debug-mode")
	text := strings.Repeat("[    0.1] Linux version\r\n", 1000)
	w.consoles[10016] = func(c net.Conn) { _, _ = io.WriteString(c, text) }
	want := "Connecting to the console for enclave 16...\nSuccessfully connected to the console.\n" + text
	for _, args := range [][]string{{"--enclave-id", info.EnclaveID}, {"--enclave-name", info.EnclaveName}} {
		r := w.run(append([]string{"console"}, args...)...)
		w.want(r, 0)
		if diff := cmp.Diff(want, r.stdout); diff != "" {
			t.Errorf("%q (-want +got):\n%s", args, diff)
		}
		if r.stderr != "" {
			t.Errorf("%q: standard error has %q", args, r.stderr)
		}
	}
	if diff := cmp.Diff([]string{"0:10016", "0:10016"}, w.dialed); diff != "" {
		t.Errorf("connections (-want +got):\n%s", diff)
	}
}

func TestConsoleRefused(t *testing.T) {
	tests := []struct {
		name  string
		start []string
		args  []string
		code  int
		want  string
	}{
		{"production mode", nil, nil, 44, "the enclave was not started in debug mode"},
		{"no console there", []string{"--debug-mode"}, nil, 44, "connection refused by the fake"},
		{"CID without a port", []string{"--debug-mode", "--enclave-cid", "4294957296"}, nil, 47, "[ E47 ] Integer parsing error"},
		{"timeout of words", []string{"--debug-mode"}, []string{"--disconnect-timeout", "soon"}, 3, "`disconnect-timeout` cannot be `soon`"},
		{"negative timeout", []string{"--debug-mode"}, []string{"--disconnect-timeout=-1"}, 3, "[ E03 ]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			info := w.start(tt.start...)
			r := w.run(append([]string{"console", "--enclave-id", info.EnclaveID}, tt.args...)...)
			w.want(r, tt.code, tt.want)
			if tt.code == 44 && len(tt.start) == 0 && len(w.dialed) > 0 {
				t.Errorf("connected to %v in production mode", w.dialed)
			}
		})
	}
}

// The largest CID that has a port.
func TestConsoleLastPort(t *testing.T) {
	w := newWorld(t)
	info := w.start("--debug-mode", "--enclave-cid", "4294957295")
	w.want(w.run("console", "--enclave-id", info.EnclaveID), 44, "[ E44 ]")
	if diff := cmp.Diff([]string{"0:4294967295"}, w.dialed); diff != "" {
		t.Errorf("connections (-want +got):\n%s", diff)
	}
}

func TestConsoleDisconnects(t *testing.T) {
	w := newWorld(t)
	info := w.start("--debug-mode")
	w.consoles[10016] = func(c net.Conn) {
		_, _ = io.WriteString(c, "one line\n")
		_, _ = io.Copy(io.Discard, c) // goes on for ever
	}
	began := time.Now()
	r := w.run("console", "--enclave-id", info.EnclaveID, "--disconnect-timeout", "1")
	w.want(r, 0)
	if !strings.HasSuffix(r.stdout, "one line\n") {
		t.Errorf("standard output is %q", r.stdout)
	}
	if d := time.Since(began); d < time.Second {
		t.Errorf("disconnected after %v", d)
	}
}

// Absurd times, and 0 as for a timer that is off, are no limit.
func TestConsoleWithoutLimit(t *testing.T) {
	w := newWorld(t)
	info := w.start("--debug-mode")
	w.consoles[10016] = func(c net.Conn) { _, _ = io.WriteString(c, "x") }
	for _, text := range []string{"0", "18446744073709551615", "9223372036854775807"} {
		r := w.run("console", "--enclave-id", info.EnclaveID, "--disconnect-timeout", text)
		w.want(r, 0)
		if !strings.HasSuffix(r.stdout, "\nx") {
			t.Errorf("%s: standard output is %q", text, r.stdout)
		}
	}
}

type brokenWriter struct{ after int }

func (b *brokenWriter) Write(p []byte) (int, error) {
	if b.after--; b.after < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestConsoleOutputFails(t *testing.T) {
	w := newWorld(t)
	info := w.start("--debug-mode")
	w.consoles[10016] = func(c net.Conn) { _, _ = io.WriteString(c, "x") }
	var stderr strings.Builder
	code := w.cli(&brokenWriter{after: 2}, &stderr).Main(w.ctx, []string{"console", "--enclave-id", info.EnclaveID})
	if code != 46 || !strings.Contains(stderr.String(), "[ E46 ] Enclave console write output error") {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
}

func TestAttachConsole(t *testing.T) {
	w := newWorld(t)
	w.consoles[10016] = func(c net.Conn) { fmt.Fprint(c, "console text") }
	image, _ := w.image("app.eif", 10, nil)
	r := w.run("run-enclave", "--eif-path", image, "--memory", "64", "--cpu-count", "2", "--attach-console")
	w.want(r, 0)
	if !w.sys.Enclaves()[0].Debug() {
		t.Error("the enclave is not in debug mode")
	}
	json, console, ok := strings.Cut(r.stdout, "Connecting to the console for enclave 16...\n")
	if !ok || !strings.HasSuffix(console, "console text") || !strings.Contains(json, `"EnclaveCID": 16`) {
		t.Errorf("standard output is %q", r.stdout)
	}
	if got := w.run("describe-enclaves"); !strings.Contains(got.stdout, `"Flags": "DEBUG_MODE"`) {
		t.Errorf("described:\n%s", got.stdout)
	}
}
