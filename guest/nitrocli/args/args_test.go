package args

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample has an option of every kind.
var sample = Command{
	Name: "run", About: "Runs",
	Flags: []Flag{
		{Name: "ids", Value: "ids", Many: true, Help: "several", Required: true, Unless: []string{"count", "config"}, Conflicts: []string{"count", "config"}},
		{Name: "count", Value: "count", Help: "one", Required: true, Unless: []string{"ids", "config"}, Conflicts: []string{"ids", "config"}},
		{Name: "file", Value: "file", Help: "needed", Required: true},
		{Name: "debug", Help: "none", Conflicts: []string{"config"}},
		{Name: "config", Value: "json", Help: "instead"},
		{Name: "key", Value: "key", Help: "with cert", Requires: "cert"},
		{Name: "cert", Value: "cert", Help: "with key", Requires: "key"},
	},
}

func TestParse(t *testing.T) {
	tests := []struct {
		line string // arguments, separated by |
		want Values
		err  string // part of a usage error
	}{
		{line: "--file|f|--count|2", want: Values{"file": {"f"}, "count": {"2"}}},
		{line: "--file=f|--count=2", want: Values{"file": {"f"}, "count": {"2"}}},
		{line: "--file=|--count=-2", want: Values{"file": {""}, "count": {"-2"}}},
		{line: "--file=a=b|--count|2", want: Values{"file": {"a=b"}, "count": {"2"}}},
		{line: "--file|-|--count|2", want: Values{"file": {"-"}, "count": {"2"}}},
		{line: "--file||--count|2", want: Values{"file": {""}, "count": {"2"}}},
		{line: "--ids|1|3|5|--file|f", want: Values{"ids": {"1", "3", "5"}, "file": {"f"}}},
		{line: "--file|f|--ids|1", want: Values{"ids": {"1"}, "file": {"f"}}},
		{line: "--file|f|--config|c", want: Values{"file": {"f"}, "config": {"c"}}},
		{line: "--file|f|--count|2|--debug", want: Values{"file": {"f"}, "count": {"2"}, "debug": nil}},
		{line: "--file|f|--count|2|--key|k|--cert|c", want: Values{"file": {"f"}, "count": {"2"}, "key": {"k"}, "cert": {"c"}}},

		{line: "--file|f|--count|2|x", err: "unexpected argument 'x'"},
		{line: "--file|f|g|--count|2", err: "unexpected argument 'g'"},
		{line: "--ids=1|3|--file|f", err: "unexpected argument '3'"},
		{line: "-f|f", err: "unexpected argument '-f'"},
		{line: "--|--file", err: "unexpected argument '--'"},
		{line: "--fil|f", err: "unexpected argument '--fil'"},
		{line: "--File|f", err: "unexpected argument '--File'"},
		{line: "--=f", err: "unexpected argument '--'"},
		{line: "--file", err: "a value is required for '--file <file>'"},
		{line: "--file|--count|2", err: "a value is required for '--file <file>'"},
		{line: "--file|f|--count|-10", err: "a value is required for '--count <count>'"},
		{line: "--file|f|--ids|--debug", err: "a value is required for '--ids <ids>...'"},
		{line: "--file|f|--count|2|--file|g", err: "'--file <file>' cannot be used multiple times"},
		{line: "--debug|--debug", err: "'--debug' cannot be used multiple times"},
		{line: "--debug=true", err: "unexpected value 'true' for '--debug'"},
		{line: "--file|f|--count|2|--ids|1", err: "cannot be used with"},
		{line: "--file|f|--config|c|--debug", err: "'--debug' cannot be used with '--config <json>'"},
		{line: "--file|f", err: "not provided:\n  --ids <ids>...\n  --count <count>"},
		{line: "--count|2", err: "not provided:\n  --file <file>"},
		{line: "--file|f|--count|2|--key|k", err: "not provided:\n  --cert <cert>"},
		{line: "", err: "not provided"},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			var line []string
			if tt.line != "" {
				line = strings.Split(tt.line, "|")
			}
			got, err := sample.Parse(line)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
			var usage *UsageError
			switch {
			case tt.err == "" && err != nil:
				t.Errorf("error: %v", err)
			case tt.err != "" && (!errors.As(err, &usage) || !strings.Contains(usage.Text, tt.err) || usage.Command != &sample):
				t.Errorf("error is %v, want a usage error with %q", err, tt.err)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, line := range [][]string{{"-h"}, {"--help"}, {"--debug", "--help"}} {
		if _, err := sample.Parse(line); !errors.Is(err, ErrHelp) {
			t.Errorf("%q: %v, want ErrHelp", line, err)
		}
	}
	var b strings.Builder
	if err := sample.WriteHelp(&b, "prog"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Runs\n", "Usage: prog run --file <file> [OPTIONS]\n", "--ids <ids>...", "--config <json>", "instead\n", "--help"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("help lacks %q:\n%s", want, b.String())
		}
	}
}

func TestValues(t *testing.T) {
	v := Values{"a": {"1", "2"}, "b": nil}
	if got, ok := v.Get("a"); got != "1" || !ok {
		t.Errorf("a is %q, %v", got, ok)
	}
	if got, ok := v.Get("b"); got != "" || !ok || !v.Has("b") {
		t.Errorf("b is %q, %v", got, ok)
	}
	if _, ok := v.Get("c"); ok || v.Has("c") {
		t.Error("c is there")
	}
}

// FuzzParse reads any command line. What it accepts obeys the rules.
func FuzzParse(f *testing.F) {
	f.Add("--file\x00f\x00--count\x002")
	f.Add("--ids\x001\x003\x00--file=f\x00--debug")
	f.Add("--config\x00c\x00--key=k\x00--cert\x00c\x00--file\x00-")
	f.Add("--\x00-\x00\x00--=\x00--help")
	f.Fuzz(func(t *testing.T, line string) {
		v, err := sample.Parse(strings.Split(line, "\x00"))
		if err != nil {
			var usage *UsageError
			if v != nil || !errors.Is(err, ErrHelp) && !errors.As(err, &usage) {
				t.Fatalf("values %v, error %v", v, err)
			}
			return
		}
		if !v.Has("file") || v.Has("key") != v.Has("cert") {
			t.Fatalf("required: %v", v)
		}
		n := 0
		for _, name := range []string{"ids", "count", "config"} {
			if v.Has(name) {
				n++
			}
		}
		if n != 1 || v.Has("config") && v.Has("debug") {
			t.Fatalf("conflicts: %v", v)
		}
		for name, values := range v {
			if f := sample.flag(name); f == nil || f.Value == "" != (len(values) == 0) || !f.Many && len(values) > 1 {
				t.Fatalf("values of %s: %q", name, values)
			}
		}
	})
}
