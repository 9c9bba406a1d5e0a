package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jstemmer/go-junit-report/v2/junit"

	"github.com/nitrolab/nitrolab/emulator/vectors"
)

// The command writes what the library makes, twice the same, and reads it back.
func TestVectorsDir(t *testing.T) {
	alone(t)
	const seed = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	dir := filepath.Join(t.TempDir(), "corpus")
	for range 2 { // into nothing, and over itself
		r := nitrolab(t, "vectors", dir, "--seed", seed)
		if r.code != 0 || r.stderr != "" {
			t.Fatalf("exit code %d, standard error %q", r.code, r.stderr)
		}
		for _, want := range []string{"cases in", "to be accepted", "seed " + seed, "made at " + vectors.Reference.Format("2006-01-02"), dir, "README.md"} {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("standard output lacks %q:\n%s", want, r.stdout)
			}
		}
	}
	got, err := vectors.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want, err := vectors.Generate(got.Seed)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Documents, got.Documents, cmpopts.EquateEmpty()); diff != "" {
		t.Error("documents differ from those of the seed")
	}
	if readme, err := os.ReadFile(filepath.Join(dir, "README.md")); err != nil || len(readme) < 1000 {
		t.Errorf("README.md has %d bytes, %v", len(readme), err)
	}
}

func TestVectorsDirErrors(t *testing.T) {
	alone(t)
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "thesis.tex"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	nitrolab(t, "vectors", full).wantError(t, 1, "give an empty folder or a new name")
	nitrolab(t, "vectors", "/proc/none").wantError(t, 1, "/proc/none")
	if left, err := os.ReadDir(full); err != nil || len(left) != 1 {
		t.Errorf("%d files in a folder that was refused, %v", len(left), err)
	}
}

func TestVectorsUsage(t *testing.T) {
	alone(t)
	for _, tt := range []struct {
		args string
		want string
	}{
		{"vectors", "number of arguments is 0; allowed is one DIR"},
		{"vectors a b", "number of arguments is 2; allowed is one DIR"},
		{"vectors a --seed xyz", `--seed is "xyz", of 3 characters; allowed are 16 to 128 hexadecimal digits`},
		{"vectors a --seed 00", `--seed is "00"`},
		{"vectors run", "COMMAND is missing; allowed are flags, then --, then the verifier"},
		{"vectors run ./verifier", "COMMAND is missing"},
		{"vectors run --", "COMMAND is missing"},
		{"vectors run --jobs 0 -- true", `invalid argument "0" for "--jobs" flag: allowed are 1 to 256`},
		{"vectors run --timeout 0s -- true", "--timeout is 0s; allowed are times above 0, such as 20s"},
		{"vectors run --level shall -- true", `level is "shall"; allowed are must and strict`},
		{"vectors run --without clock -- true", `"clock" is nothing a verifier is told; allowed are roots, pcrs`},
		{"vectors run --skip-group A99 -- true", `--skip-group is "A99"; the corpus has no such group`},
		{"vectors run --group a3 -- true", `--group is "a3"; the corpus has no such group`},
		{"vectors run --group good --skip-group good -- true", "every case was left out"},
		{"vectors run --dir x --real-time -- true", "--dir is given with --seed or --real-time"},
		{"vectors verifier x", `argument is "x"; nitrolab vectors verifier takes flags only`},
	} {
		t.Run(tt.args, func(t *testing.T) {
			r := nitrolab(t, strings.Fields(tt.args)...)
			if r.code != 2 || !strings.Contains(r.stderr, tt.want) {
				t.Errorf("exit code %d, standard error %q; want 2, %q", r.code, r.stderr, tt.want)
			}
		})
	}
	nitrolab(t, "vectors", "run", "--", "/no/such/verifier").wantError(t, 1, "no such file")
	nitrolab(t, "vectors", "run", "--dir", t.TempDir(), "--", "true").wantError(t, 1, "no corpus")
	nitrolab(t, "vectors", "run", "--jsonl", "--", "false").wantError(t, 1, "never gave a reply")
}

// nitrolab's own verifier, over both roads, is right about everything: as a
// verifier of its own, and as the command for people.
func TestVectorsRunOwn(t *testing.T) {
	alone(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(fakeEnv, "-") // the test binary is nitrolab
	verify := []string{"--jobs=4", "--group=good,A4,A10,A12", "--without=archive", "--", exe, "verify", "-", "--root={roots}", "--at={time}", "--nonce={nonce}", "--user-data={user-data}", "--public-key={public-key}", "--max-age={max-age}s"}
	for _, i := range []string{"0", "1", "2", "3", "4", "8", "16", "31"} {
		verify = append(verify, "--pcr="+i+"={pcr"+i+"}")
	}
	for name, args := range map[string][]string{
		"jsonl":     {"--jsonl", "--", exe, "vectors", "verifier"},
		"process":   verify,
		"real time": {"--jsonl", "--real-time", "--group=good,A3", "--", exe, "vectors", "verifier"},
	} {
		t.Run(name, func(t *testing.T) {
			r := nitrolab(t, append([]string{"vectors", "run"}, args...)...)
			if r.code != 0 || r.stderr != "" || !strings.Contains(r.stdout, "all right: ") {
				t.Errorf("exit code %d, standard error %q, standard output:\n%s", r.code, r.stderr, r.stdout)
			}
		})
	}
}

// A verifier that is wrong about something is reported in all forms.
func TestVectorsRunWrong(t *testing.T) {
	alone(t)
	dir := filepath.Join(t.TempDir(), "corpus")
	if r := nitrolab(t, "vectors", dir); r.code != 0 {
		t.Fatal(r.stderr)
	}
	corpus, err := vectors.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	asked, bad := 0, 0
	for _, c := range corpus.Cases {
		if c.Group != "good" && c.Group != "A3" {
			continue
		}
		if asked++; c.Verdict == vectors.Reject {
			bad++
		}
	}
	file := filepath.Join(t.TempDir(), "vectors.xml")
	r := nitrolab(t, "vectors", "run", "--dir", dir, "--group", "good,A3", "--junit", file, "--json", "--", "true")
	if r.code != 1 || r.stderr != "" {
		t.Fatalf("exit code %d, standard error %q", r.code, r.stderr)
	}
	var report vectorsReport
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatal(err)
	}
	total := report.Total
	if total.Cases != len(corpus.Cases) || bad == 0 || total.WronglyAccepted != bad || total.WronglyRejected != 0 || total.Passed != asked-bad || len(report.Results) != len(corpus.Cases) {
		t.Errorf("total is %+v; want %d cases, %d passed, %d wrongly accepted", total, len(corpus.Cases), asked-bad, bad)
	}
	if want := "no document was rejected"; !strings.Contains(report.Suspicion, want) {
		t.Errorf("suspicion is %q, want %q", report.Suspicion, want)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var suites junit.Testsuites
	if err := xml.Unmarshal(text, &suites); err != nil || suites.Tests != len(corpus.Cases) || suites.Failures != bad {
		t.Errorf("JUnit: %v, %d tests, %d failures; want %d, %d", err, suites.Tests, suites.Failures, len(corpus.Cases), bad)
	}

	r = nitrolab(t, "vectors", "run", "--dir", dir, "--group", "good", "--", "sh", "-c", "echo no such root >&2; exit 1")
	if r.code != 1 || r.stderr != "" {
		t.Fatalf("exit code %d, standard error %q", r.code, r.stderr)
	}
	for _, want := range []string{"wrongly rejected good-", "it said: no such root", "group ", "no document was accepted: does the command find the document, the roots and the time?", "wrong: "} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("standard output lacks %q:\n%.3000s", want, r.stdout)
		}
	}
	nitrolab(t, "vectors", "run", "--dir", dir, "--group", "good", "--junit", "/no/such/place", "--", "true").wantError(t, 1, "--junit: ")
}

// The verifier command answers a line with a line, and ends with its input.
func TestVectorsVerifier(t *testing.T) {
	in := `{"id":5,"document":"","time":"2026-11-23T09:51:42Z","roots":[],"pcrs":{}}` + "\n"
	r := nitrolabReading(t, in+in, "vectors", "verifier")
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("exit code %d, standard error %q", r.code, r.stderr)
	}
	lines := 0
	for s := bufio.NewScanner(strings.NewReader(r.stdout)); s.Scan(); lines++ {
		if !bytes.HasPrefix(s.Bytes(), []byte(`{"id":5,"verdict":"reject","reason":"`)) {
			t.Errorf("reply is %s", s.Bytes())
		}
	}
	if lines != 2 {
		t.Errorf("%d replies, want 2", lines)
	}
	nitrolabReading(t, "hello\n", "vectors", "verifier").wantError(t, 1, "request: invalid character")
}
