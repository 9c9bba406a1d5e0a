package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/supervisor"
)

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]int{
		"512": 512, "512M": 512, "512m": 512, "2G": 2048, "2g": 2048, "1T": 1 << 20, "4": 4, "1048576": 1 << 20,
	} {
		if got, err := parseMemory(text); err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "M", "0", "-1", "1.5G", "1GB", "G1", "2T", "1048577", "1025G", "99999999999999999999", "0x10", " 1", "9223372036854775807T"} {
		if got, err := parseMemory(text); err == nil || err.Error() != "allowed are 64 to 1048576 MiB, such as 512 or 2G" {
			t.Errorf("%q is %d, %v; want a refusal", text, got, err)
		}
	}
}

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadConfig(t *testing.T) {
	tests := []struct {
		name, text string
		want       emulator.EnclaveConfig
		cpuIDs     []int
		attach     bool
		warning    string
	}{
		{"all", `{"enclave_name": "a", "cpu_count": 2, "memory_mib": 512, "eif_path": "x.eif", "enclave_cid": 17, "debug_mode": true, "attach_console": true}`,
			emulator.EnclaveConfig{Name: "a", CPUs: 2, MemoryMiB: 512, EIFPath: "x.eif", CID: 17, Debug: true}, nil, true, ""},
		{"nitro-cli's least", `{"cpu_count": 2, "memory_mib": 512, "eif_path": "x.eif"}`,
			emulator.EnclaveConfig{CPUs: 2, MemoryMiB: 512, EIFPath: "x.eif"}, nil, false, ""},
		{"CPU ids", `{"cpu_ids": [3, 1], "memory_mib": 64, "eif_path": "x.eif"}`,
			emulator.EnclaveConfig{MemoryMiB: 64, EIFPath: "x.eif"}, []int{3, 1}, false, ""},
		{"null is absent", `{"enclave_name": null, "enclave_cid": null, "cpu_ids": null, "cpu_count": 1, "memory_mib": 64, "eif_path": "x"}`,
			emulator.EnclaveConfig{CPUs: 1, MemoryMiB: 64, EIFPath: "x"}, nil, false, ""},
		{"unknown field", `{"cpu_count": 1, "memory_mib": 64, "eif_path": "x", "cpu_cuont": 2}`,
			emulator.EnclaveConfig{CPUs: 1, MemoryMiB: 64, EIFPath: "x"}, nil, false, `field "cpu_cuont" means nothing to nitro-cli or nitrolab`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := runFlags{order: supervisor.Order{Enclave: &emulator.EnclaveConfig{}}}
			var warnings bytes.Buffer
			if err := f.readConfig(configFile(t, tt.text), &warnings); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, *f.order.Enclave, cmpopts.IgnoreUnexported(emulator.EnclaveConfig{})); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
			if !cmp.Equal(tt.cpuIDs, f.cpuIDs) || f.attach != tt.attach {
				t.Errorf("CPU ids %v, attach %v", f.cpuIDs, f.attach)
			}
			if !strings.Contains(warnings.String(), tt.warning) || (warnings.Len() > 0) != (tt.warning != "") {
				t.Errorf("warnings %q, want %q", warnings.String(), tt.warning)
			}
		})
	}
}

func TestReadConfigRefuses(t *testing.T) {
	alone(t)
	const rest = `"memory_mib": 64, "eif_path": "x"`
	tests := []struct{ name, text, want string }{
		{"empty", ``, "unexpected end of JSON input"},
		{"no object", `[1]`, "cannot unmarshal array"},
		{"more behind it", `{"cpu_count": 1, ` + rest + `} x`, "invalid character 'x' after top-level value"},
		{"no image", `{"cpu_count": 1, "memory_mib": 64}`, "eif_path is missing"},
		{"no memory", `{"cpu_count": 1, "eif_path": "x"}`, "memory_mib is missing"},
		{"no CPU", `{` + rest + `}`, "cpu_count is missing"},
		{"CPUs twice", `{"cpu_count": 1, "cpu_ids": [1], ` + rest + `}`, "cpu_count and cpu_ids are both set; one is allowed"},
		{"a CPU twice", `{"cpu_ids": [1, 1], ` + rest + `}`, "list of CPU ids is [1 1]; allowed is one without repetition"},
		{"memory as text", `{"cpu_count": 1, "memory_mib": "2G", "eif_path": "x"}`, `memory_mib is "2G"; allowed is a number of MiB`},
		{"negative CID", `{"enclave_cid": -1, "cpu_count": 1, ` + rest + `}`, "enclave_cid is -1; allowed is a number from 0 to 4294967295"},
		{"CID of the parent", `{"enclave_cid": 3, "cpu_count": 1, ` + rest + `}`, "enclave CID is 3; allowed"},
		{"debug as number", `{"debug_mode": 1, "cpu_count": 1, ` + rest + `}`, "debug_mode is 1; allowed is true or false"},
		{"endless", strings.Repeat(" ", 1<<20+1), "has more than 1048576 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := configFile(t, tt.text)
			r := nitrolab(t, "run-enclave", "--config", path)
			r.wantError(t, 2, tt.want)
			if !strings.Contains(r.stderr, path) && !strings.Contains(r.stderr, "; allowed") && !strings.Contains(r.stderr, "list of") {
				t.Errorf("the file is not named: %s", r.stderr)
			}
		})
	}
}

// What the flags become in the order for the supervisor.
func TestOrder(t *testing.T) {
	f := runFlags{cpuIDs: []int{1}, attach: true, host: hostFlags{awsNames: true, role: "r", tools: toolFlags{accel: "tcg", qemu: "/q"}}}
	f.order.Enclave = &emulator.EnclaveConfig{EIFPath: "x", MemoryMiB: 64}
	if err := f.check([]string{"3"}); err != nil {
		t.Fatal(err)
	}
	want := supervisor.Order{
		Enclave: &emulator.EnclaveConfig{EIFPath: "x", MemoryMiB: 64, CPUs: 2, CPUIDs: []int{1, 3}, Debug: true},
		Names:   namesFlag(true), Role: "r", Accel: "tcg", QEMU: "/q",
	}
	if diff := cmp.Diff(want, f.order, cmpopts.IgnoreUnexported(emulator.EnclaveConfig{})); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestRoleARN(t *testing.T) {
	for text, want := range map[string]bool{
		"arn:aws:iam::123456789012:role/x":               true,
		"arn:aws-us-gov:iam::123456789012:role/path/x":   true,
		"arn:aws:iam::12345678901:role/x":                false,
		"arn:aws:iam::123456789012:user/x":               false,
		"arn:aws:sts::123456789012:assumed-role/x/i-123": false,
		"x": false,
		"":  false,
	} {
		if got := roleARN.MatchString(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
