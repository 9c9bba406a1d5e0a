package allocator

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseConfig(t *testing.T) {
	tests := []struct {
		name string
		text string
		want Config
		line int    // of a ConfigError
		err  string // part of it; empty for none
	}{
		{
			name: "AWS's default",
			text: "---\n# Enclave configuration file.\n#\nmemory_mib: 512\n#\ncpu_count: 2\n# cpu_pool: 2,3,6-9\n",
			want: Config{MemoryMiB: 512, CPUCount: 2},
		},
		{name: "pool", text: "---\nmemory_mib: 1024\ncpu_pool: 2,3,6-9\n", want: Config{MemoryMiB: 1024, CPUPool: []uint32{2, 3, 6, 7, 8, 9}}},
		{name: "quotes, tabs, Windows", text: "# before\r\n---\r\nmemory_mib:\t\"512\"\r\n\r\n  # c\r\ncpu_count:   2  \r\n", want: Config{MemoryMiB: 512, CPUCount: 2}},
		{name: "no newline at the end", text: "---\nmemory_mib: 1\ncpu_count: 2", want: Config{MemoryMiB: 1, CPUCount: 2}},

		{name: "empty", err: "`memory_mib` is missing"},
		{name: "no memory", text: "---\ncpu_count: 2\n", err: "`memory_mib` is missing"},
		{name: "no CPUs", text: "---\nmemory_mib: 512\n", err: "one of `cpu_count` and `cpu_pool` is missing"},
		{name: "both CPUs", text: "---\nmemory_mib: 512\ncpu_count: 2\ncpu_pool: 2\n", err: "exclude each other"},
		{name: "no beginning", text: "memory_mib: 512\ncpu_count: 2\n", line: 1, err: "`---` must come before"},
		{name: "two documents", text: "---\nmemory_mib: 512\n---\ncpu_count: 2\n", line: 3, err: "a second document"},
		{name: "unknown", text: "---\nmemory: 512\n", line: 2, err: `unexpected "memory"`},
		{name: "other case", text: "---\nMEMORY_MIB: 512\n", line: 2, err: "unexpected"},
		{name: "indented", text: "---\n memory_mib: 512\n", line: 2, err: "unexpected"},
		{name: "list", text: "---\n- memory_mib: 512\n", line: 2, err: "unexpected"},
		{name: "no colon", text: "---\nmemory_mib\n", line: 2, err: "has no value"},
		{name: "no value", text: "---\nmemory_mib:\n", line: 2, err: "has no value"},
		{name: "empty quotes", text: "---\nmemory_mib: \"\"\n", line: 2, err: "has no value"},
		{name: "no space", text: "---\nmemory_mib:512\n", line: 2, err: "a space must follow"},
		{name: "twice", text: "---\nmemory_mib: 512\nmemory_mib: 1024\n", line: 3, err: "comes twice, before in line 2"},
		{name: "comment behind", text: "---\nmemory_mib: 512 # MiB\ncpu_count: 2\n", line: 2, err: "allowed are 1 to"},
		{name: "memory of nothing", text: "---\nmemory_mib: 0\ncpu_count: 2\n", line: 2, err: "allowed are 1 to"},
		{name: "memory below zero", text: "---\nmemory_mib: -1\ncpu_count: 2\n", line: 2, err: "allowed are 1 to"},
		{name: "memory of words", text: "---\nmemory_mib: 512M\ncpu_count: 2\n", line: 2, err: "allowed are 1 to"},
		{name: "memory beyond machines", text: "---\nmemory_mib: 1099511627777\ncpu_count: 2\n", line: 2, err: "allowed are 1 to"},
		{name: "no CPU", text: "---\nmemory_mib: 512\ncpu_count: 0\n", line: 3, err: "allowed are 1 to"},
		{name: "pool of words", text: "---\nmemory_mib: 512\ncpu_pool: all\n", line: 3, err: "allowed is a list"},
		{name: "pool of nothing", text: "---\nmemory_mib: 512\ncpu_pool: 3-2\n", line: 3, err: "allowed is a list"},
		{name: "large", text: "---\n" + strings.Repeat("#", MaxConfig), err: "more than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseConfig(tt.text)
			if tt.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("config (-want +got):\n%s", diff)
				}
				return
			}
			var e *ConfigError
			if !errors.As(err, &e) || e.Line != tt.line || !strings.Contains(e.Error(), tt.err) {
				t.Errorf("error is %v, want one in line %d with %q", err, tt.line, tt.err)
			}
		})
	}
}

// FuzzParseConfig reads any file. What it accepts can be set aside.
func FuzzParseConfig(f *testing.F) {
	for _, s := range []string{
		"---\nmemory_mib: 512\ncpu_count: 2\n", "---\nmemory_mib: \"1\"\ncpu_pool: 2,3,6-9", "---\n---\n", "#\n---\ncpu_pool: 0-65535\nmemory_mib: 1099511627776",
		"memory_mib: 1", "---\nmemory_mib:\tx\n: \n", "---\r\n\"\": \"",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseConfig(text)
		if err != nil {
			var e *ConfigError
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if c.MemoryMiB < 1 || int64(c.MemoryMiB)<<20 <= 0 || (c.CPUCount > 0) == (len(c.CPUPool) > 0) {
			t.Fatalf("config %+v", c)
		}
	})
}
