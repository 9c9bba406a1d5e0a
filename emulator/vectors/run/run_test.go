package run_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/emulator/vectors"
	"github.com/nitrolab/nitrolab/emulator/vectors/run"
)

func TestPerCase(t *testing.T) {
	tests := []struct {
		document string
		want     run.Outcome
		detail   string
	}{
		{"accept", run.Accepted, ""},
		{"reject of it", run.Rejected, "because of it"},
		{"exit 2", run.Rejected, ""},
		{"exit 100", run.Rejected, ""},
		{"exit 255", run.Rejected, ""},
		{"exit 129", run.Rejected, ""}, // SIGHUP: nothing the document can do
		{"panic", run.Crashed, "exit status 2: panic: at the disco"},
		{"exit 101", run.Crashed, "exit status 101"},
		{"exit 126", run.Crashed, "exit status 126"},
		{"exit 127", run.Crashed, "exit status 127"},
		{"exit 134", run.Crashed, "exit status 134, a shell's for aborted"},
		{"exit 139", run.Crashed, "exit status 139, a shell's for segmentation fault"},
		{"signal 9", run.Crashed, "signal: killed"},
		{"signal 15", run.Crashed, "signal: terminated"},
		{"flood", run.Rejected, strings.Repeat("x", 300) + "…"},
	}
	var orders []order
	for _, tt := range tests {
		orders = append(orders, order{document: tt.document, verdict: vectors.Either})
	}
	r := must(t, configOf(t, run.PerCase, orders...))
	for i, tt := range tests {
		got := r.Results[i]
		if got.Outcome != tt.want || got.Detail != tt.detail {
			t.Errorf("%s: %s, %q; want %s, %q", tt.document, got.Outcome, got.Detail, tt.want, tt.detail)
		}
	}
}

func TestJSONL(t *testing.T) {
	tests := []struct {
		document string
		want     run.Outcome
		detail   string // a part of it
	}{
		{"accept", run.Accepted, ""},
		{"reject of it", run.Rejected, "because of it"},
		{"log", run.Accepted, ""},
		{"panic", run.Crashed, "it ended, exit status 2: panic: at the disco"},
		{"accept", run.Accepted, ""},
		{"exit 0", run.Crashed, "it ended, exit status 0"},
		{"signal 11", run.Crashed, "it ended, "},
		{"part", run.Crashed, "it ended, exit status 0"},
		{"mute", run.Crashed, "it closed its output"},
		{"long", run.Crashed, "reply has more than 65536 bytes"},
		{"say hello", run.Crashed, `reply is "hello\n"; it must be an object with id and verdict`},
		{`say {"id":#,"verdict":"maybe"}`, run.Crashed, `verdict is "maybe"; allowed are accept and reject`},
		{`say {"id":0,"verdict":"accept"}`, run.Crashed, "id is 0 in the reply; it must be"},
		{`say {"verdict":"accept"}`, run.Crashed, "id is missing in the reply"},
		{"twice", run.Accepted, ""},
		{"accept", run.Crashed, "id is "}, // the second reply to the one above
		{"reject again", run.Rejected, "because again"},
		{`say {"id":#,"verdict":"reject","reason":"a\nb\u001b[2J","more":[1]}`, run.Rejected, "a b?[2J"},
	}
	var orders []order
	for _, tt := range tests {
		orders = append(orders, order{document: tt.document, verdict: vectors.Either})
	}
	cfg := configOf(t, run.JSONL, orders...)
	cfg.Jobs = 1
	r := must(t, cfg)
	for i, tt := range tests {
		got := r.Results[i]
		if got.Outcome != tt.want || !strings.Contains(got.Detail, tt.detail) || tt.detail == "" && got.Detail != "" {
			t.Errorf("%s: %s, %q; want %s, %q", tt.document, got.Outcome, got.Detail, tt.want, tt.detail)
		}
	}
}

// A verifier that does not answer is ended, with what it started, and the cases
// behind it are asked about all the same.
func TestHung(t *testing.T) {
	for _, p := range []run.Protocol{run.PerCase, run.JSONL} {
		t.Run(p.String(), func(t *testing.T) {
			pidFile := filepath.Join(t.TempDir(), "pid")
			cfg := configOf(t, p, order{document: "accept"}, order{document: "hang " + pidFile, verdict: vectors.Reject}, order{document: "accept"})
			cfg.Jobs = 1
			var r *run.Report
			// A second is enough to start a process, but not on any machine at
			// any time.
			for _, cfg.Timeout = range []time.Duration{time.Second, 5 * time.Second, 25 * time.Second} {
				if r = must(t, cfg); r.Total().Crashed == 1 {
					break
				}
			}
			if diff := cmp.Diff([]run.Outcome{run.Accepted, run.Hung, run.Accepted}, outcomes(r)); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			hung := r.Results[1]
			if want := fmt.Sprintf("in %v: going to sleep", cfg.Timeout); !strings.HasSuffix(hung.Detail, want) || !hung.Failed() {
				t.Errorf("detail is %q, failed is %v", hung.Detail, hung.Failed())
			}
			gone(t, pidFile)
		})
	}
}

// gone fails the test if the process named in the file is alive.
func gone(t *testing.T, pidFile string) {
	t.Helper()
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("descendant %d of the verifier: %v, want no such process", pid, err)
	}
}

func TestInterrupted(t *testing.T) {
	for _, p := range []run.Protocol{run.PerCase, run.JSONL} {
		t.Run(p.String(), func(t *testing.T) {
			pidFile := filepath.Join(t.TempDir(), "pid")
			cfg := configOf(t, p, order{document: "hang " + pidFile}, order{document: "accept"}, order{document: "accept"})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cfg.Progress = func(run.Result) { // of another worker
				for {
					if b, err := os.ReadFile(pidFile); err == nil && len(b) > 0 {
						cancel()
						return
					}
				}
			}
			begin := time.Now()
			if _, err := run.Run(ctx, cfg); !errors.Is(err, context.Canceled) {
				t.Errorf("error is %v", err)
			}
			if took := time.Since(begin); took > cfg.Timeout/2 {
				t.Errorf("took %v", took)
			}
			gone(t, pidFile)
			left, err := os.ReadDir(cfg.StateDir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range left {
				if e.IsDir() {
					t.Errorf("%s is left", e.Name())
				}
			}
		})
	}
}

// What a verifier is told, in the environment, as arguments and as files.
func TestTold(t *testing.T) {
	for _, v := range os.Environ() { // such as NITROLAB_CACHE, of whoever runs the tests
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "NITROLAB_") && !strings.HasPrefix(name, "NITROLAB_GUARD") {
			t.Setenv(name, "") // which brings it back
			_ = os.Unsetenv(name)
		}
	}
	t.Setenv("NITROLAB_NONCE", "of the parent")
	t.Setenv("NITROLAB_CASE", "of the parent")
	out := t.TempDir()
	full := func(c *vectors.Case) {
		c.Time = time.Date(2026, 11, 23, 9, 51, 42, 250_000_000, time.FixedZone("", 3600))
		c.PCRs = map[uint]vectors.Hex{10: {0xaa}, 0: {1, 2}, 2: {3}}
		c.Nonce, c.UserData, c.PublicKey, c.MaxAgeSeconds, c.Archive = vectors.Hex{0x8c}, vectors.Hex{}, vectors.Hex{4}, 300, true
		c.Roots = []string{"roots/a.pem", "roots/b.pem"}
	}
	bare := func(c *vectors.Case) { c.Roots = nil }
	cfg := configOf(t, run.PerCase, order{document: "told " + out + "/full", edit: full}, order{document: "told " + out + "/bare", edit: bare})
	cfg.Command = append(cfg.Command, "{time}", "{unix}", "{pcrs}", "--pcr0={pcr0}", "{pcr1}", "{pcr10}", "--nonce={nonce}", "u{user-data}u", "{public-key}", "{max-age}s", "{archive}", "{case}", "{other} {}", "{pcr40}", "{nonce}{case}")
	must(t, cfg)
	type told struct{ Env, Args []string }
	read := func(name string) (v told) {
		b, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		// The roots are a file whose name the test does not know.
		v.Env = slices.DeleteFunc(v.Env, func(v string) bool { return strings.HasPrefix(v, "NITROLAB_ROOTS=/") })
		return v
	}
	want := told{
		Env: []string{
			"NITROLAB_ARCHIVE=1", "NITROLAB_MAX_AGE=300", "NITROLAB_NONCE=8c", "NITROLAB_PCRS=0=0102,2=03,10=aa",
			"NITROLAB_PUBLIC_KEY=04", "NITROLAB_TIME=2026-11-23T08:51:42.25Z", "NITROLAB_USER_DATA=",
		},
		Args: []string{"2026-11-23T08:51:42.25Z", "1795423902", "0=0102,2=03,10=aa", "--pcr0=0102", "aa", "--nonce=8c", "uu", "04", "300s", "1", "{other} {}", "{pcr40}"},
	}
	if diff := cmp.Diff(want, read("full")); diff != "" {
		t.Errorf("full (-want +got):\n%s", diff)
	}
	want = told{
		Env:  []string{"NITROLAB_PCRS=", "NITROLAB_TIME=2026-11-23T09:51:41.25Z"},
		Args: []string{"2026-11-23T09:51:41.25Z", "1795427501", "", "{other} {}", "{pcr40}"},
	}
	if diff := cmp.Diff(want, read("bare")); diff != "" {
		t.Errorf("bare (-want +got):\n%s", diff)
	}
}

func TestFiles(t *testing.T) {
	t.Setenv(obeyEnv, "")
	out := t.TempDir()
	cfg := run.Config{
		Source: run.Fixed(corpusOf(
			order{document: "one", edit: func(c *vectors.Case) { c.Roots = []string{"roots/a.pem", "roots/b.pem"} }},
			order{document: "two", edit: func(c *vectors.Case) { c.Roots = nil }},
		)),
		Command:  []string{"sh", "-c", `cat - > $1.stdin; cat $3 > $1.document; cat $2 > $1.roots; test $2 = $NITROLAB_ROOTS; case $3 in *A1*) exit 1;; esac`, "sh", out + "/{case}", "{roots}", "{document}"},
		StateDir: t.TempDir(), ShowID: true,
	}
	r := must(t, cfg)
	if diff := cmp.Diff([]run.Outcome{run.Accepted, run.Accepted}, outcomes(r)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	want := map[string]string{
		"A1-0.stdin": "one", "A1-0.document": "one", "A1-0.roots": testRoot + testRoot,
		"A1-1.stdin": "two", "A1-1.document": "two", "A1-1.roots": "",
	}
	for name, text := range want {
		b, err := os.ReadFile(filepath.Join(out, name))
		if err != nil || string(b) != text {
			t.Errorf("%s is %q, %v; want %q", name, b, err, text)
		}
	}
}

// A verifier is not told which case it has before it, unless asked for.
func TestShowID(t *testing.T) {
	for _, show := range []bool{false, true} {
		for _, p := range []run.Protocol{run.PerCase, run.JSONL} {
			file := filepath.Join(t.TempDir(), "told")
			cfg := configOf(t, p, order{document: "told " + file})
			cfg.ShowID = show
			must(t, cfg)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), "A1-0") != show {
				t.Errorf("%v, ShowID %v: %s", p, show, b)
			}
		}
	}
}

func TestRunErrors(t *testing.T) {
	good := func() run.Config { return configOf(t, run.PerCase, order{document: "accept"}) }
	tests := []struct {
		name string
		edit func(*run.Config)
		want string
	}{
		{"no source", func(c *run.Config) { c.Source = nil }, "no source of cases"},
		{"no command", func(c *run.Config) { c.Command = nil }, "no command"},
		{"no directory", func(c *run.Config) { c.StateDir = "" }, "no state directory"},
		{"protocol", func(c *run.Config) { c.Protocol = 7 }, "Protocol(7) is no protocol"},
		{"jobs", func(c *run.Config) { c.Jobs = 257 }, "257 jobs; allowed are 1 to 256"},
		{"timeout", func(c *run.Config) { c.Timeout = -1 }, "timeout is -1ns"},
		{"level", func(c *run.Config) { c.Select.Level = "shall" }, `level is "shall"; allowed are must and strict`},
		{"without", func(c *run.Config) { c.Select.Without = []run.Expectation{"clock"} }, `"clock" is nothing a verifier is told; allowed are roots, pcrs`},
		{"no program", func(c *run.Config) { c.Command = []string{"/nonexistent"} }, "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good()
			tt.edit(&cfg)
			_, err := run.Run(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %q in it", err, tt.want)
			}
		})
	}
	t.Run("no program is fs.ErrNotExist", func(t *testing.T) {
		for _, p := range []run.Protocol{run.PerCase, run.JSONL} {
			cfg := good()
			cfg.Protocol, cfg.Command = p, []string{"/nonexistent"}
			if _, err := run.Run(t.Context(), cfg); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v: error is %v", p, err)
			}
		}
	})
}

// A command that does not know the protocol is told from a verifier that crashes
// at every case, which is restarted for each.
func TestDead(t *testing.T) {
	var orders []order
	for range 40 {
		orders = append(orders, order{document: "exit 3"})
	}
	cfg := configOf(t, run.JSONL, orders...)
	var dead *run.DeadError
	if _, err := run.Run(t.Context(), cfg); !errors.As(err, &dead) || dead.Times < 8 || dead.Times > 9 || !strings.Contains(dead.Last, "exit status 3") {
		t.Errorf("error is %v", err)
	}
	orders[5] = order{document: "accept"}
	cfg = configOf(t, run.JSONL, orders...)
	r := must(t, cfg)
	if total := r.Total(); total.Passed != 1 || total.Crashed != 39 {
		t.Errorf("%d passed, %d crashed; want 1 and 39", total.Passed, total.Crashed)
	}
}

// renamed is a source whose cases have another title when they are asked about.
type renamed struct{ run.Source }

func (r renamed) Fresh(i int) (*vectors.Corpus, vectors.Case, error) {
	corpus, c, err := r.Source.Fresh(i)
	c.Title = "fresh"
	switch i {
	case 1:
		err = &run.SkipError{Reason: "not today"}
	case 2:
		err = errors.New("no space left")
	}
	return corpus, c, err
}

// What a source says of a case when it is asked for goes into the report.
func TestSource(t *testing.T) {
	cfg := configOf(t, run.JSONL, order{document: "accept"}, order{document: "accept"})
	cfg.Source = renamed{cfg.Source}
	r := must(t, cfg)
	if got := r.Results[0]; got.Case.Title != "fresh" || got.Outcome != run.Accepted {
		t.Errorf("first case is %q, %s", got.Case.Title, got.Outcome)
	}
	if got := r.Results[1]; got.Outcome != run.Skipped || got.Detail != "not today" || got.Failed() {
		t.Errorf("second case is %s, %q", got.Outcome, got.Detail)
	}
	cfg = configOf(t, run.JSONL, order{document: "accept"}, order{document: "accept"}, order{document: "accept"})
	cfg.Source = renamed{cfg.Source}
	if _, err := run.Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "case A1-2: no space left") {
		t.Errorf("error is %v", err)
	}
}

func BenchmarkJSONL(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		orders := make([]order, 1000)
		for i := range orders {
			orders[i] = order{document: "accept"}
		}
		cfg := configOf(b, run.JSONL, orders...)
		b.StartTimer()
		must(b, cfg)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "µs/case")
}
