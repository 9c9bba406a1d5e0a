package nitrocli_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCommandLine(t *testing.T) {
	all := []string{"run-enclave", "terminate-enclave", "build-enclave", "describe-eif", "describe-enclaves", "console", "pcr", "explain", "sign-eif"}
	w := newWorld(t)
	help := w.run("--help")
	w.want(help, 0)
	for _, name := range all {
		if !strings.Contains(help.stdout, "\n  "+name+" ") {
			t.Errorf("help lacks %s:\n%s", name, help.stdout)
		}
		for _, args := range [][]string{{name, "--help"}, {name, "-h"}, {"help", name}} {
			r := w.run(args...)
			w.want(r, 0)
			if !strings.Contains(r.stdout, "Usage: nitro-cli "+name) || r.stderr != "" {
				t.Errorf("%q prints %q and %q", args, r.stdout, r.stderr)
			}
		}
		w.want(w.run(name, "--no-such-option"), 2, "error: unexpected argument '--no-such-option'", "Usage: nitro-cli "+name, "try '--help'")
		w.want(w.run(name, "word"), 2, "error: unexpected argument 'word'")
	}
	for _, args := range [][]string{{"-h"}, {"help"}} {
		if r := w.run(args...); r != help {
			t.Errorf("%q: %+v", args, r)
		}
	}
	// Without a command, help is an error.
	if r := w.run(); r.code != 2 || r.stdout != "" || r.stderr != help.stdout {
		t.Errorf("no command: %+v", r)
	}
	for _, flag := range []string{"-V", "--version"} {
		if r := w.run(flag); r.code != 0 || !strings.HasPrefix(r.stdout, "Nitro CLI 1.5.0") {
			t.Errorf("%s: %+v", flag, r)
		}
	}
	w.want(w.run("start-enclave"), 2, "unrecognized subcommand 'start-enclave'")
	w.want(w.run("help", "start-enclave"), 2, "unrecognized subcommand 'start-enclave'")
	w.want(w.run("enclave-process"), 2, "unrecognized subcommand")
}

// The command lines of nitro-cli's own test of its arguments
// (tests/test_nitro_cli_args.rs), as rules.
func TestCommandLinesOfAWS(t *testing.T) {
	tests := []struct {
		line string
		ok   bool
	}{
		{"terminate-enclave --enclave-id", false},
		{"terminate-enclave --enclave-id 1234", true},
		{"terminate-enclave --enclave-id 1234 5678", false},
		{"terminate-enclave --enclave-name", false},
		{"terminate-enclave --enclave-name name1 name2", false},
		{"terminate-enclave", false},
		{"terminate-enclave --all --enclave-id 1", false},
		{"describe-enclaves", true},
		{"describe-enclaves --metadata", true},
		{"describe-enclaves --metadata yes", false},
		{"describe-eif --eif-path", false},
		{"console", false},
		{"console --enclave-id", false},
		{"console --enclave-id 1 2", false},
		{"console --enclave-id 1 --enclave-name a", false},
		{"console --enclave-id 1 --disconnect-timeout", false},
		{"build-enclave --docker-uri", false},
		{"build-enclave --docker-uri mine --docker-dir d", false},
		{"build-enclave --docker-uri mine --output-file f --private-key k", false},
		{"build-enclave --docker-uri mine --output-file f --metadata", false},
		{"run-enclave --cpu-count 2 --memory 128 --eif-path", false},
		{"run-enclave --cpu-ids --memory 128 --eif-path e", false},
		{"run-enclave --memory 128 --eif-path e", false},
		{"run-enclave --cpu-count 2 --memory --eif-path e", false},
		{"run-enclave --cpu-count 2 --eif-path e", false},
		{"run-enclave --cpu-count 2 --memory 128 --eif-path e --enclave-cid", false},
		{"run-enclave --cpu-count 2 --memory 128 --eif-path e --debug-mode 1", false},
		{"run-enclave --config", false},
		{"run-enclave --config a b", false},
		{"run-enclave --config a --memory 1", false},
		{"run-enclave --cpu-count 2 --memory 128 --eif-path e --enclave-name", false},
		{"pcr --input", false},
		{"pcr --signing-certificate", false},
		{"pcr --signing-certificate a --input b", false},
		{"sign-eif --eif-path e --private-key k", false},
	}
	w := newWorld(t)
	for _, tt := range tests {
		r := w.run(strings.Fields(tt.line)...)
		if ok := r.code != 2; ok != tt.ok {
			t.Errorf("%s: exit code %d\n%s", tt.line, r.code, r.stderr)
		}
	}
}

func TestBacktrace(t *testing.T) {
	w := newWorld(t)
	if r := w.run("terminate-enclave", "--enclave-name", "x"); strings.Contains(r.stderr, "Backtrace") {
		t.Errorf("backtrace without BACKTRACE=1:\n%s", r.stderr)
	}
	w.env["BACKTRACE"] = "1"
	w.want(w.run("terminate-enclave", "--enclave-name", "x"), 58, "[ E58 ]", "Backtrace:\n  Terminate Enclave\n  Failed to construct TerminateEnclave arguments\n")
}
