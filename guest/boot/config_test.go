package boot

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseCommand(t *testing.T) {
	tests := []struct {
		name string
		in   string
		want []string // nil: an error
	}{
		{"arguments", "/app\n-x\nwith space\n", []string{"/app", "-x", "with space"}},
		{"no line feed at the end", "/app\n-x", []string{"/app", "-x"}},
		{"empty argument", "/app\n\nlast\n", []string{"/app", "", "last"}},
		{"last argument is empty", "/app\n\n", []string{"/app", ""}},
		{"empty file", "", nil},
		{"only a line feed", "\n", nil},
		{"zero byte", "/app\n\x00\n", nil},
		{"too large", strings.Repeat("x", maxConfig+1), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseCommand([]byte(tt.in))
			if (err != nil) != (tt.want == nil) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("command (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseEnv(t *testing.T) {
	path := []string{"PATH=/sbin:/usr/sbin:/bin:/usr/bin"}
	tests := []struct {
		name string
		in   string
		want []string
	}{
		{"variables", "A=1\nB=x=y\nC=\n", []string{"A=1", "B=x=y", "C="}},
		{"lines without a name", "A=1\n\nfoo\n=x\n", []string{"A=1"}},
		{"empty file", "", path},
		{"no variable", "\n\n", path},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseEnv([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzConfig reads anything as /cmd and /env. What comes out must be fit for
// execve, and written as lines it must read the same.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{"", "\n", "/app\n-x\n", "A=1\nB", "/app\n\n", "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if command, err := ParseCommand(in); err == nil {
			if command[0] == "" || slices.ContainsFunc(command, func(s string) bool { return strings.ContainsAny(s, "\n\x00") }) {
				t.Fatalf("command %q", command)
			}
			again := []byte(strings.Join(command, "\n") + "\n")
			if !bytes.Equal(bytes.TrimSuffix(again, []byte("\n")), bytes.TrimSuffix(in, []byte("\n"))) {
				t.Fatalf("%q read and written is %q", in, again)
			}
		}
		if env, err := ParseEnv(in); err == nil {
			for _, v := range env {
				if strings.IndexByte(v, '=') <= 0 || strings.ContainsAny(v, "\n\x00") {
					t.Fatalf("variable %q", v)
				}
			}
		}
	})
}
