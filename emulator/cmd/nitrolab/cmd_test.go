package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/images/guestprog"
)

// A result is what a command left behind.
type result struct {
	code           int
	stdout, stderr string
}

// nitrolab runs the command in this process.
func nitrolab(t *testing.T, args ...string) result {
	t.Helper()
	return nitrolabReading(t, "", args...)
}

func nitrolabReading(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(stdin), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// wantError fails unless the command ended with a code and one sentence.
func (r result) wantError(t *testing.T, code int, sentence string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.stderr, sentence) || !strings.HasPrefix(r.stderr, "nitrolab: ") {
		t.Errorf("exit code %d, standard error %q; want %d, %q", r.code, r.stderr, code, sentence)
	}
	if r.stdout != "" {
		t.Errorf("standard output %q of a command that failed", r.stdout)
	}
	if strings.Contains(r.stderr, "goroutine ") || strings.Contains(r.stderr, "\n\n") {
		t.Errorf("standard error is not for people:\n%s", r.stderr)
	}
}

// alone gives the test places of its own.
func alone(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "nl") // short: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("XDG_STATE_HOME", filepath.Join(dir, "state"))
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(dir, "run"))
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
}

// A mistake in the arguments has code 2, one sentence, and where to read on.
func TestUsage(t *testing.T) {
	alone(t)
	enclave := []string{"run-enclave", "--eif-path", "app.eif", "--memory", "512", "--cpu-count", "2"}
	with := func(args ...string) []string { return append(slices.Clone(enclave), args...) }
	tests := []struct {
		args []string
		want string
		see  string
	}{
		{[]string{"foo"}, `"foo" is no command of nitrolab`, "nitrolab"},
		{[]string{"run-enclav"}, `"run-enclav" is no command of nitrolab; is it run-enclave?`, "nitrolab"},
		{[]string{"eif", "describ"}, `"describ" is no command of nitrolab eif; is it describe?`, "nitrolab eif"},
		{[]string{"--bogus"}, "unknown flag: --bogus", "nitrolab"},
		{[]string{"describe-enclaves", "x"}, `argument is "x"; nitrolab describe-enclaves takes flags only`, "nitrolab describe-enclaves"},
		{[]string{"demo", "x"}, `argument is "x"; nitrolab demo takes flags only`, "nitrolab demo"},
		{[]string{"demo", "--accel", "x"}, `invalid argument "x" for "--accel" flag: allowed are auto, kvm and tcg`, "nitrolab demo"},
		{[]string{"demo", "--accel"}, "flag needs an argument: --accel", "nitrolab demo"},
		{[]string{"shell", "a", "b"}, `arguments are ["a" "b"]; allowed is one id or name`, "nitrolab shell"},
		{[]string{"shell", "--enclave", "a"}, `argument is "a"; with --enclave there is none`, "nitrolab shell"},
		{[]string{"console"}, "0 guests named; allowed is one", "nitrolab console"},
		{[]string{"console", "a", "b"}, "2 guests named; allowed is one", "nitrolab console"},
		{[]string{"console", "a", "--enclave-name", "y"}, "2 guests named; allowed is one", "nitrolab console"},
		{[]string{"console", "--enclave-id", "x", "--enclave-name", "y"}, "2 guests named; allowed is one", "nitrolab console"},
		{[]string{"console", "--enclave-id", "x", "--disconnect-timeout", "-1"}, "allowed are 0 to 2147483647", "nitrolab console"},
		{[]string{"terminate-enclave"}, "at least one of the flags in the group [enclave-id enclave-name all] is required", "nitrolab terminate-enclave"},
		{[]string{"terminate-enclave", "--all", "--enclave-id", "x"}, "none of the others can be", "nitrolab terminate-enclave"},
		{[]string{"ps", "x"}, `argument is "x"; nitrolab ps takes flags only`, "nitrolab ps"},
		{[]string{"terminate"}, "nothing is named; allowed are ids or names, or --all", "nitrolab terminate"},
		{[]string{"terminate", "--all", "x"}, `arguments are ["x"]; with --all there are none`, "nitrolab terminate"},
		{[]string{"cp", "x"}, "number of arguments is 1; allowed are SOURCE and DESTINATION", "nitrolab cp"},
		{[]string{"cp", "x", "./y:z"}, `both "x" and "./y:z" are here; one has to be of the form INSTANCE:PATH`, "nitrolab cp"},
		{[]string{"cp", "a:x", "b:y"}, `both "a:x" and "b:y" are in a guest; one has to be here`, "nitrolab cp"},
		{[]string{"cp", "a:", "x"}, `path of "a:" is empty; allowed is INSTANCE:PATH`, "nitrolab cp"},
		{[]string{"launch", "x"}, `argument is "x"; nitrolab launch takes flags only`, "nitrolab launch"},
		{[]string{"launch", "--cpus", "1"}, `invalid argument "1" for "--cpus" flag: allowed are 2 to 64`, "nitrolab launch"},
		{[]string{"launch", "--memory", "100"}, "memory of the instance is 100 MiB; allowed is 256 to 65536 MiB", "nitrolab launch"},
		{[]string{"launch", "--memory", "65G"}, `invalid argument "65G" for "--memory" flag: allowed are 256 to 65536 MiB, such as 512 or 2G`, "nitrolab launch"},
		{[]string{"launch", "--instance-type", "m5 xlarge"}, `instance type is "m5 xlarge"; allowed is of the form m5.xlarge`, "nitrolab launch"},
		{[]string{"launch", "--name", "a:b"}, `invalid argument "a:b" for "--name" flag: allowed are letters, digits, and inside also . _ -`, "nitrolab launch"},
		{[]string{"launch", "--name", "-a"}, `invalid argument "-a" for "--name" flag`, "nitrolab launch"},
		{[]string{"launch", "--file", "x"}, `--file is "x"; allowed is LOCAL:GUEST, where GUEST is an absolute path`, "nitrolab launch"},
		{[]string{"launch", "--file", "x:y"}, `--file is "x:y"; allowed is LOCAL:GUEST, where GUEST is an absolute path`, "nitrolab launch"},
		{[]string{"launch", "--role", "admin"}, "allowed is the form arn:aws:iam::123456789012:role/name", "nitrolab launch"},
		{[]string{"verify"}, "number of arguments is 0; allowed is one DOCUMENT", "nitrolab verify"},
		{[]string{"verify", "--bogus", "x"}, "unknown flag: --bogus", "nitrolab verify"},
		{[]string{"eif", "measure"}, `required flag(s) "eif-path" not set`, "nitrolab eif measure"},
		{[]string{"eif", "sign", "--eif-path", "x", "--signing-certificate", "x"}, "missing [private-key]", "nitrolab eif sign"},

		{[]string{"run-enclave"}, "--eif-path is missing", "nitrolab run-enclave"},
		{[]string{"run-enclave", "--eif-path", "x"}, "--memory is missing", "nitrolab run-enclave"},
		{[]string{"run-enclave", "--eif-path", "x", "--memory", "64"}, "--cpu-count is missing", "nitrolab run-enclave"},
		{with("x"), `argument is "x"; nitrolab run-enclave takes flags only`, "nitrolab run-enclave"},
		{with("--memory", "63"), "memory is 63 MiB; allowed is 64 to 1048576 MiB", "nitrolab run-enclave"},
		{with("--memory", "1x"), `invalid argument "1x" for "--memory" flag: allowed are 64 to 1048576 MiB, such as 512 or 2G`, "nitrolab run-enclave"},
		{with("--cpu-count", "0"), `invalid argument "0" for "--cpu-count" flag: allowed are 1 to 255`, "nitrolab run-enclave"},
		{with("--cpu-count", "many"), `invalid argument "many" for "--cpu-count" flag: allowed are 1 to 255`, "nitrolab run-enclave"},
		{with("--cpu-ids", "1"), "none of the others can be", "nitrolab run-enclave"},
		{[]string{"run-enclave", "--eif-path", "x", "--memory", "64", "--cpu-ids", "1", "1"}, "list of CPU ids is [1 1]; allowed is one without repetition", "nitrolab run-enclave"},
		{[]string{"run-enclave", "--eif-path", "x", "--memory", "64", "--cpu-ids", "1", "x"}, `argument is "x"; behind --cpu-ids numbers are allowed`, "nitrolab run-enclave"},
		{with("--enclave-cid", "4294967296"), `invalid argument "4294967296" for "--enclave-cid" flag: allowed are 0 to 4294967295`, "nitrolab run-enclave"},
		{with("--enclave-cid", "3"), "enclave CID is 3; allowed is 4 to 4294967294, or 0 to choose one", "nitrolab run-enclave"},
		{with("--forward", "x"), `forward "x": want LISTEN=DIAL`, "nitrolab run-enclave"},
		{with("--role", "admin"), "allowed is the form arn:aws:iam::123456789012:role/name", "nitrolab run-enclave"},
		{with("--machine", "pci"), `machine form is "pci"; allowed are auto, acpi, cmdline`, "nitrolab run-enclave"},
		{with("--config", "x"), "none of the others can be", "nitrolab run-enclave"},
		{[]string{"run-enclave", "--config", "/no/such/file"}, "--config: open /no/such/file: no such file or directory", "nitrolab run-enclave"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			r := nitrolab(t, tt.args...)
			r.wantError(t, 2, tt.want)
			if want := fmt.Sprintf("\nnitrolab: see %s --help\n", tt.see); !strings.HasSuffix(r.stderr, want) {
				t.Errorf("standard error %q does not end with %q", r.stderr, want)
			}
			if strings.Count(r.stderr, "\n") != 2 {
				t.Errorf("standard error has other than two lines:\n%s", r.stderr)
			}
		})
	}
}

// What each command's help has to say. A command that is not listed here is one
// that nobody has looked at.
var help = map[string][]string{
	"nitrolab":                   {"Not affiliated with AWS", "not the strength of hardware", "nitrolab demo", "run-enclave", "verify", "shell", "launch", "nitro_enclaves", "ps", "cp", "terminate"},
	"nitrolab launch":            {"nitro-cli", "nitro_enclaves", "allocator.yaml", "sample.eif", "snapshot", "--name NAME", "--instance-type TYPE", "--cpus NUMBER", "--memory MIB", "--cold", "--file LOCAL:GUEST", "--no-allocator", "--role ARN", "--kms-store FILE", "--kms-listen ADDRESS", "metadata", "--aws-names", "--accel", "--qemu", "--json", "terminate"},
	"nitrolab ps":                {"instances", "run-enclave", "--json"},
	"nitrolab cp":                {"INSTANCE:PATH", "standard", "folder", "Permissions", "agent"},
	"nitrolab terminate":         {"INSTANCE", "ENCLAVE-ID", "NAME", "--all", "--json", "nothing is ended"},
	"nitrolab demo":              {"make run", "--json", "--accel", "--qemu", "vsock-proxy", "key service", "second act"},
	"nitrolab run-enclave":       {"nitro-cli", "--eif-path FILE", "--memory MIB", "--cpu-count NUMBER", "--cpu-ids IDS", "--enclave-cid CID", "--debug-mode", "--attach-console", "--enclave-name NAME", "--config FILE", "--forward LISTEN=DIAL", "--role ARN", "--aws-names", "--machine FORM", "--hang-timeout TIME", "CID 3", "PCR3", "terminate-enclave"},
	"nitrolab describe-enclaves": {"--metadata", "JSON"},
	"nitrolab console":           {"INSTANCE", "--enclave-id ID", "--enclave-name NAME", "--disconnect-timeout SECONDS", "debug", "64 KiB", "nitro-cli"},
	"nitrolab terminate-enclave": {"--enclave-id ID", "--enclave-name NAME", "--all", "JSON"},
	"nitrolab shell":             {"make shell", "INSTANCE", "ENCLAVE-ID", "--command COMMAND", "--enclave", "sample.eif", "nitro-cli", "sample --shell", "script", "exit code"},
	"nitrolab verify":            {"--root FILE", "--pcr INDEX=HEX", "--eif-path FILE", "--any-pcr", "--nonce HEX", "--user-data HEX", "--public-key HEX", "--max-age TIME", "--at TIME", "--json", "exit code is 0", "1 for a refused", "2 for a mistake", "base64"},
	"nitrolab root-certificate":  {"host.json", "--aws-names", "emulated", "--services", "--identity-documents", "CA bundle"},
	"nitrolab vectors":           {"DIR", "hostile", "--seed HEX", "same bytes", "README.md", "vectors run", "emulated"},
	"nitrolab vectors run":       {"-- COMMAND", "NITROLAB_TIME", "{roots}", "{document}", "--jsonl", "--dir FOLDER", "--real-time", "--without LIST", "--level must", "--skip-group GROUPS", "--jobs N", "--timeout TIME", "--show-id", "--junit FILE", "--json", "exit code is 0"},
	"nitrolab vectors verifier":  {"JSON", "standard input", "max_age_seconds", "verdict", "--jsonl -- nitrolab vectors verifier"},
	"nitrolab kms":               {"serve", "check"},
	"nitrolab kms check":         {"POLICY", "standard", "production", "debug enclave", "no document", "PCR8", "--eif FILE", "--role ARN", "--key ARN", "--json", "exit code is 0", "get-key-policy"},
	"nitrolab kms serve":         {"AWS KMS", "CiphertextForRecipient", "Ctrl-C", "--listen ADDRESS", "--store FILE", "--audit FILE", "--role ARN", "--debug-documents CHOICE", "--aws-names", "vsock:8000=tcp:ADDRESS", "root-certificate --services", "by-policy"},
	"nitrolab toolchain":         {"--json", "--packages", "--verify", "--update", "NITROLAB_CACHE", "Nothing is installed"},
	"nitrolab eif":               {"build", "describe", "measure", "sign", "extract", "sample"},
	"nitrolab eif build":         {"--output-file FILE", "--binary FILE", "--directory DIR", "--oci FILE", "docker"},
	"nitrolab eif describe":      {"--eif-path FILE", "nitro-cli describe-eif"},
	"nitrolab eif measure":       {"--eif-path FILE", "PCRs"},
	"nitrolab eif sign":          {"--eif-path FILE", "--signing-certificate FILE", "--private-key FILE", "--output-file FILE", "in place"},
	"nitrolab eif extract":       {"--eif-path FILE", "--output-dir DIR", "--force"},
	"nitrolab eif sample":        {"--output-file FILE", "--shell", "make sample-eif"},
}

func TestHelp(t *testing.T) {
	seen := map[string]bool{}
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Name() == "help" || cmd.Name() == "completion" || cmd.Hidden {
			return
		}
		path := cmd.CommandPath()
		seen[path] = true
		t.Run(path, func(t *testing.T) {
			words, ok := help[path]
			if !ok {
				t.Fatalf("no entry for %q in the table of this test: say there what its help has to mention", path)
			}
			r := nitrolab(t, append(strings.Fields(path)[1:], "--help")...)
			if r.code != 0 || r.stderr != "" {
				t.Errorf("exit code %d, standard error %q", r.code, r.stderr)
			}
			for _, w := range words {
				if !strings.Contains(r.stdout, w) {
					t.Errorf("help does not mention %q:\n%s", w, r.stdout)
				}
			}
			for line := range strings.Lines(cmd.Long) {
				if len(strings.TrimRight(line, "\n")) > 84 {
					t.Errorf("line of the help is longer than a screen: %q", line)
				}
			}
		})
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(newRoot())
	for path := range help {
		if !seen[path] {
			t.Errorf("the table of this test has %q, which is no command", path)
		}
	}
	// Without arguments a command that only holds others shows its help.
	for _, args := range [][]string{nil, {"eif"}} {
		if r := nitrolab(t, args...); r.code != 0 || !strings.Contains(r.stdout, "Usage:") {
			t.Errorf("%q: exit code %d, %q", args, r.code, r.stdout)
		}
	}
	if r := nitrolab(t, "--version"); r.code != 0 || r.stdout != "nitrolab version "+version+"\n" {
		t.Errorf("version: %+v", r)
	}
}

func TestNothingRuns(t *testing.T) {
	alone(t)
	const nothing = "nothing runs; nitrolab launch starts an instance, nitrolab run-enclave an enclave\n"
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"describe-enclaves"}, "[]\n"},
		{[]string{"describe-enclaves", "--metadata"}, "[]\n"},
		{[]string{"terminate-enclave", "--all"}, "[]\n"},
		{[]string{"ps"}, nothing},
		{[]string{"ps", "--json"}, "{\n  \"instances\": [],\n  \"enclaves\": []\n}\n"},
		{[]string{"terminate", "--all"}, "nothing runs\n"},
		{[]string{"terminate", "--all", "--json"}, "[]\n"},
	} {
		if r := nitrolab(t, tt.args...); r.code != 0 || r.stdout != tt.want || r.stderr != "" {
			t.Errorf("%q: %+v, want %q", tt.args, r, tt.want)
		}
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"terminate-enclave", "--enclave-id", "i-1"}, `enclave id is "i-1"; no running enclave has it (nitrolab describe-enclaves lists them)`},
		{[]string{"terminate-enclave", "--enclave-name", "app"}, `enclave name is "app"; no running enclave has it`},
		{[]string{"console", "--enclave-id", "i-1"}, `enclave id is "i-1"; no running enclave has it`},
		{[]string{"console", "--enclave-name", "app"}, `enclave name is "app"; no running enclave has it`},
		{[]string{"shell", "i-1"}, `"i-1" is no running instance or enclave (nitrolab ps lists them)`},
		{[]string{"console", "i-1"}, `"i-1" is no running instance or enclave (nitrolab ps lists them)`},
		{[]string{"cp", "i-1:/x", "-"}, `"i-1" is no running instance or enclave (nitrolab ps lists them)`},
		{[]string{"cp", "-", "i-1:/x"}, `"i-1" is no running instance or enclave (nitrolab ps lists them)`},
		{[]string{"terminate", "i-1", "web"}, `"i-1" is no running instance or enclave (nitrolab ps lists them)`},
		{[]string{"terminate", "i-1", "web", "--json"}, `"web" is no running instance or enclave (nitrolab ps lists them)`},
		{[]string{"launch", "--file", "/no/such/file:/x"}, "--file: open /no/such/file: no such file or directory"},
		{[]string{"launch", "--file", "/tmp:/x"}, "--file: /tmp is not a regular file"},
		{[]string{"cp", "/no/such/file", "i-1:/x"}, "open /no/such/file: no such file or directory"},
	} {
		nitrolab(t, tt.args...).wantError(t, 1, tt.want)
	}
}

// A state directory in which others can write is refused by every command that
// looks there.
func TestUnsafeStateDirectory(t *testing.T) {
	alone(t)
	dir := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "nitrolab")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"describe-enclaves"}, {"terminate-enclave", "--all"}, {"console", "--enclave-id", "x"}, {"shell", "x"},
		{"ps"}, {"terminate", "--all"}, {"terminate", "x"}, {"console", "x"}, {"cp", "-", "x:/y"}, {"cp", "x:/y", "-"}, {"launch"},
		{"run-enclave", "--eif-path", "x", "--memory", "64", "--cpu-count", "1"},
	} {
		nitrolab(t, args...).wantError(t, 1, "state directory "+dir+" has mode 0777, so others can write there; remove it or set XDG_RUNTIME_DIR")
	}
}

func TestExitCode(t *testing.T) {
	signalled := func(s syscall.Signal) context.Context {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(signalError{s})
		return ctx
	}
	cmd := newRoot()
	boot := &qemu.BootError{Title: "the guest panicked", Console: []byte("last words\n"), Reproduce: "qemu -x", Kept: "/kept"}
	tests := []struct {
		name string
		ctx  context.Context
		err  error
		code int
		says string
	}{
		{"nothing", t.Context(), nil, 0, ""},
		{"refusal that was shown", t.Context(), runError{&exitError{code: 1}}, 1, ""},
		{"status of a shell", t.Context(), runError{fmt.Errorf("x: %w", &exitError{code: 42, msg: "why"})}, 42, "nitrolab: why\n"},
		{"failure", t.Context(), runError{errors.New("broken")}, 1, "nitrolab: broken\n"},
		{"mistake in the arguments", t.Context(), errors.New("bad"), 2, "nitrolab: bad\nnitrolab: see nitrolab --help\n"},
		{"mistake found later", t.Context(), runError{usagef("bad")}, 2, "nitrolab: bad\nnitrolab: see nitrolab --help\n"},
		{"Ctrl-C", signalled(syscall.SIGINT), runError{fmt.Errorf("wait: %w", context.Canceled)}, 130, "nitrolab: interrupted\n"},
		{"terminated", signalled(syscall.SIGTERM), runError{context.Canceled}, 143, "nitrolab: interrupted\n"},
		{"Ctrl-C, and more is wrong", signalled(syscall.SIGINT), runError{errors.New("left behind")}, 130, "nitrolab: left behind\n"},
		{"Ctrl-C too late", signalled(syscall.SIGINT), nil, 0, ""},
		{"guest's fault", t.Context(), runError{boot}, 1,
			"nitrolab: the guest panicked\n  console, last lines:\n    last words\n  to reproduce: qemu -x (kept in /kept)\n"},
		{"no guest programs", t.Context(), runError{fmt.Errorf("build: %w: go list: exit status 1", guestprog.ErrUnavailable)}, 1,
			"nitrolab: this nitrolab was built without the programs that run inside a guest; build it with make build, or run it inside the folder of the Go module github.com/nitrolab/nitrolab or one that requires it\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stderr bytes.Buffer
			code := exitCode(tt.ctx, &stderr, cmd, tt.err)
			if diff := cmp.Diff(tt.says, stderr.String()); code != tt.code || diff != "" {
				t.Errorf("code %d, want %d; standard error (-want +got):\n%s", code, tt.code, diff)
			}
		})
	}
}
