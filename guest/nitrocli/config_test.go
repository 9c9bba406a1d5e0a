package nitrocli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/guest/nitrocli/wire"
)

func ptr[T any](v T) *T { return &v }

func TestParseConfig(t *testing.T) {
	tests := []struct {
		name string
		text string
		want wire.RunArgs
		code failure.Code // of the error; 0 for none
		err  string
	}{
		{
			name: "all fields",
			text: `{"enclave_name": "my", "cpu_ids": [1, 3], "memory_mib": 256, "eif_path": "/a.eif", "enclave_cid": 17, "debug_mode": true, "attach_console": false}`,
			want: wire.RunArgs{EIFPath: "/a.eif", EnclaveCID: ptr[uint64](17), MemoryMiB: 256, CPUIDs: []uint32{1, 3}, DebugMode: true, EnclaveName: ptr("my")},
		},
		{
			name: "least", text: `{"cpu_count": 2, "memory_mib": 256, "eif_path": "a"}`,
			want: wire.RunArgs{EIFPath: "a", MemoryMiB: 256, CPUCount: ptr[uint32](2)},
		},
		{
			name: "console implies debug mode", text: `{"cpu_count": 2, "memory_mib": 256, "eif_path": "a", "attach_console": true}`,
			want: wire.RunArgs{EIFPath: "a", MemoryMiB: 256, CPUCount: ptr[uint32](2), DebugMode: true, AttachConsole: true},
		},
		{
			name: "null for none", text: `{"cpu_count": 2, "cpu_ids": null, "enclave_cid": null, "enclave_name": null, "memory_mib": 256, "eif_path": "a"}`,
			want: wire.RunArgs{EIFPath: "a", MemoryMiB: 256, CPUCount: ptr[uint32](2)},
		},
		{
			name: "unknown fields", text: `{"cpu_count": 2, "memory_mib": 256, "eif_path": "a", "Memory_MiB": 1, "other": {"a": [1]}}`,
			want: wire.RunArgs{EIFPath: "a", MemoryMiB: 256, CPUCount: ptr[uint32](2)},
		},
		{
			name: "no CPU at all", text: `{"cpu_ids": [], "memory_mib": 256, "eif_path": "a"}`,
			want: wire.RunArgs{EIFPath: "a", MemoryMiB: 256, CPUIDs: []uint32{}},
		},
		{
			// Left for the driver.
			name: "CID of 33 bits", text: `{"cpu_count": 2, "memory_mib": 256, "eif_path": "a", "enclave_cid": 4294967296}`,
			want: wire.RunArgs{EIFPath: "a", MemoryMiB: 256, CPUCount: ptr[uint32](2), EnclaveCID: ptr[uint64](1 << 32)},
		},
		{name: "no CPUs", text: `{"memory_mib": 256, "eif_path": "a"}`, code: failure.MissingArgument, err: "neither"},
		{name: "both CPUs", text: `{"cpu_count": 2, "cpu_ids": [1], "memory_mib": 256, "eif_path": "a"}`, code: failure.ConflictingArgument, err: "`cpu_count` and `cpu_ids`"},
		{name: "no memory", text: `{"cpu_count": 2, "eif_path": "a"}`, code: failure.SerdeError, err: "`memory_mib` is missing"},
		{name: "no image", text: `{"cpu_count": 2, "memory_mib": 256}`, code: failure.SerdeError, err: "`eif_path` is missing"},
		{name: "other case", text: `{"cpu_count": 2, "MEMORY_MIB": 256, "eif_path": "a"}`, code: failure.SerdeError, err: "`memory_mib` is missing"},
		{name: "null memory", text: `{"cpu_count": 2, "memory_mib": null, "eif_path": "a"}`, code: failure.SerdeError, err: "`memory_mib` is null"},
		{name: "null debug mode", text: `{"cpu_count": 2, "memory_mib": 1, "eif_path": "a", "debug_mode": null}`, code: failure.SerdeError, err: "`debug_mode` is null"},
		{name: "memory of text", text: `{"cpu_count": 2, "memory_mib": "256", "eif_path": "a"}`, code: failure.SerdeError, err: "`memory_mib`"},
		{name: "memory below zero", text: `{"cpu_count": 2, "memory_mib": -1, "eif_path": "a"}`, code: failure.SerdeError, err: "`memory_mib`"},
		{name: "memory of a half", text: `{"cpu_count": 2, "memory_mib": 1.5, "eif_path": "a"}`, code: failure.SerdeError, err: "`memory_mib`"},
		{name: "memory of 65 bits", text: `{"cpu_count": 2, "memory_mib": 18446744073709551616, "eif_path": "a"}`, code: failure.SerdeError, err: "`memory_mib`"},
		{name: "CPU of 33 bits", text: `{"cpu_ids": [4294967296], "memory_mib": 256, "eif_path": "a"}`, code: failure.SerdeError, err: "`cpu_ids`"},
		{name: "null CPU", text: `{"cpu_ids": [null], "memory_mib": 256, "eif_path": "a"}`, code: failure.SerdeError, err: "`cpu_ids` has a null"},
		{name: "twice", text: `{"cpu_count": 2, "cpu_count": 4, "memory_mib": 256, "eif_path": "a"}`, code: failure.SerdeError, err: "`cpu_count` comes twice"},
		{name: "array", text: `[1]`, code: failure.SerdeError, err: "not a JSON object"},
		{name: "empty", text: ``, code: failure.SerdeError, err: "not a JSON object"},
		{name: "broken off", text: `{"cpu_count": 2`, code: failure.SerdeError},
		{name: "broken value", text: `{"cpu_count": }`, code: failure.SerdeError},
		{name: "something behind", text: `{"cpu_count": 2, "memory_mib": 256, "eif_path": "a"} x`, code: failure.SerdeError, err: "behind the JSON object"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseConfig([]byte(tt.text))
			if tt.code != 0 {
				if failure.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error is %v, want %v with %q", err, tt.code, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadConfig(t *testing.T) {
	if _, err := readConfig(filepath.Join(t.TempDir(), "none.json")); failure.CodeOf(err) != failure.FileOperationFailure || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := readConfig(t.TempDir()); failure.CodeOf(err) != failure.SerdeError {
		t.Errorf("a directory: %v", err)
	}
	large := filepath.Join(t.TempDir(), "large.json")
	if err := os.WriteFile(large, []byte(strings.Repeat(" ", maxConfig+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readConfig(large); failure.CodeOf(err) != failure.SerdeError || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a large file: %v", err)
	}
}

// FuzzConfig reads any --config file. What it accepts has what a start needs.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"enclave_name": "my", "cpu_ids": [1, 3], "memory_mib": 256, "eif_path": "/a.eif", "enclave_cid": 17, "debug_mode": true}`))
	f.Add([]byte(`{"cpu_count": 2, "memory_mib": 256, "eif_path": "a", "attach_console": true}`))
	f.Add([]byte(`{"cpu_count": null, "cpu_ids": [null]}`))
	f.Add([]byte(`{"a": 1, "a": 2}{`))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := parseConfig(text)
		if err != nil {
			switch failure.CodeOf(err) {
			case failure.SerdeError, failure.MissingArgument, failure.ConflictingArgument:
			default:
				t.Fatalf("error %v", err)
			}
			return
		}
		if (a.CPUCount == nil) == (a.CPUIDs == nil) {
			t.Fatalf("CPUs %v and %v", a.CPUCount, a.CPUIDs)
		}
		if a.AttachConsole && !a.DebugMode {
			t.Fatal("console without debug mode")
		}
	})
}

// FuzzOptions reads any value of the options that are parsed.
func FuzzOptions(f *testing.F) {
	for _, s := range []string{"", "512", "3G", "18446744073709551615T", "-1", "4294967295", "0", "m", "1 M", "９"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if mib, err := parseMemory(text); err == nil && mib == 0 && !strings.HasPrefix(text, "0") {
			t.Fatalf("memory %q is 0", text)
		}
		if cid, err := parseCID(text); err == nil && (cid >= 1 && cid <= 3 || cid >= 1<<32-1) {
			t.Fatalf("CID %q is %d", text, cid)
		}
		if name := defaultName(text); strings.ContainsRune(name, '/') || strings.HasSuffix(name, ".eif") {
			t.Fatalf("name of %q is %q", text, name)
		}
	})
}

func TestFreeName(t *testing.T) {
	tests := []struct {
		name  string
		taken []string
		want  string
	}{
		{"app", nil, "app"},
		{"app", []string{"other"}, "app"},
		{"app", []string{"app"}, "app_1"},
		{"app", []string{"app_1", "app", "app_2"}, "app_3"},
		{"app_1", []string{"app_1"}, "app_1_1"},
		{"", []string{""}, "_1"},
	}
	for _, tt := range tests {
		if got := freeName(tt.name, tt.taken); got != tt.want {
			t.Errorf("%q beside %q: got %q, want %q", tt.name, tt.taken, got, tt.want)
		}
	}
}
