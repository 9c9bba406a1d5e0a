package nitrocli_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/nitrolab/nitrolab/guest/enclaves/enclavestest"
	"github.com/nitrolab/nitrolab/guest/nitrocli/enclaveproc"
)

func TestInvalidArguments(t *testing.T) {
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"CPU count", []string{"--cpu-count", "1z", "--memory", "64"}, 3, "[ E03 ] Invalid argument provided. `cpu-count` cannot be `1z`"},
		{"negative CPU count", []string{"--cpu-count=-1", "--memory", "64"}, 3, "[ E03 ]"},
		{"CPU count of 33 bits", []string{"--cpu-count", "4294967296", "--memory", "64"}, 3, "[ E03 ]"},
		{"CPU ID", []string{"--cpu-ids", "1", "x", "--memory", "64"}, 3, "[ E03 ] Invalid argument provided. `cpu-id` cannot be `x`"},
		{"memory", []string{"--cpu-count", "2", "--memory", "VVV"}, 3, "[ E03 ] Invalid argument provided. `memory` cannot be `VVV`"},
		{"memory of a word", []string{"--cpu-count", "2", "--memory", "256_mb"}, 3, "[ E03 ]"},
		{"memory of kilobytes", []string{"--cpu-count", "2", "--memory", "256K"}, 3, "[ E03 ]"},
		{"memory of nothing", []string{"--cpu-count", "2", "--memory", ""}, 3, "[ E03 ]"},
		{"memory below zero", []string{"--cpu-count", "2", "--memory=-10"}, 3, "[ E03 ]"},
		{"memory that overflows", []string{"--cpu-count", "2", "--memory", "18446744073709551615T"}, 3, "[ E03 ]"},
		{"CID of words", []string{"--cpu-count", "2", "--memory", "64", "--enclave-cid", "x"}, 3, "[ E03 ] Invalid argument provided. `enclave-cid` cannot be `x`"},
		{"CID 1", []string{"--cpu-count", "2", "--memory", "64", "--enclave-cid", "1"}, 3, "well-known CID"},
		{"CID 2", []string{"--cpu-count", "2", "--memory", "64", "--enclave-cid", "2"}, 3, "well-known CID"},
		{"CID 3", []string{"--cpu-count", "2", "--memory", "64", "--enclave-cid", "3"}, 3, "the parent VM"},
		{"CID any", []string{"--cpu-count", "2", "--memory", "64", "--enclave-cid", "4294967295"}, 3, "well-known CID"},
		{"CID of 33 bits", []string{"--cpu-count", "2", "--memory", "64", "--enclave-cid", "4294967296"}, 3, "32 bits"},
		{"no memory", []string{"--cpu-count", "2"}, 2, "error: the following required arguments were not provided:\n  --memory <memory>"},
		{"no CPUs", []string{"--memory", "64"}, 2, "error: the following required arguments"},
		{"both CPUs", []string{"--memory", "64", "--cpu-count", "2", "--cpu-ids", "1"}, 2, "cannot be used with"},
		{"config and more", []string{"--config", "c.json"}, 2, "'--eif-path <eif-path>' cannot be used with '--config <json-config>'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			r := w.run(append([]string{"run-enclave", "--eif-path", "app.eif"}, tt.args...)...)
			w.want(r, tt.code, tt.want)
			if len(w.sys.Enclaves()) > 0 || r.stdout != "" {
				t.Errorf("%d slots taken, standard output %q", len(w.sys.Enclaves()), r.stdout)
			}
		})
	}
}

func TestAutomaticCID(t *testing.T) {
	w := newWorld(t)
	image, _ := w.image("app.eif", 10, nil)
	r := w.run("run-enclave", "--eif-path", image, "--memory", "64", "--cpu-count", "2", "--enclave-cid", "0")
	w.want(r, 0, "The enclave CID will be auto-generated as the provided CID is 0\n", "Started enclave")
	if got := decode[enclaveproc.RunInfo](t, r.stdout); got.EnclaveCID < 4 {
		t.Errorf("CID is %d", got.EnclaveCID)
	}
}

func TestMemoryUnits(t *testing.T) {
	w := newWorldWith(t, enclavestest.Config{Pages: map[uint64]int{2 * mib: 32}})
	image, _ := w.image("app.eif", 10, nil)
	for text, mib := range map[string]uint64{"3": 3, "3M": 3, "3m": 3, "3G": 3 << 10, "3g": 3 << 10, "3T": 3 << 20, "3t": 3 << 20} {
		r := w.run("run-enclave", "--eif-path", image, "--cpu-count", "2", "--memory", text)
		want := "`memory` is " + strconv.FormatUint(mib, 10) + " MB"
		if mib == 3 { // enough pages, and less than an enclave has at least
			want = "NE_ERR_ENCLAVE_MEM_MIN_SIZE"
		}
		w.want(r, 39, want)
	}
}

func TestEnclaveNames(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]string{
		"app.eif": "app", "twice.eif.eif": "twice", "plain": "plain", "dots.v1.eif": "dots.v1", ".eif": "",
	} {
		image, _ := w.image(path, 10, nil)
		r := w.run("run-enclave", "--eif-path", image, "--memory", "64", "--cpu-count", "2")
		w.want(r, 0)
		info := decode[enclaveproc.RunInfo](t, r.stdout)
		if info.EnclaveName != want {
			t.Errorf("%s: name is %q, want %q", path, info.EnclaveName, want)
		}
		w.want(w.run("terminate-enclave", "--enclave-id", info.EnclaveID), 0)
	}
}

// The instance's ID is that of the SMBIOS, or nitro-cli's stand-in.
func TestEnclaveIDWithoutSMBIOS(t *testing.T) {
	w := newWorld(t)
	if err := os.RemoveAll(w.root + "/sys/devices"); err != nil {
		t.Fatal(err)
	}
	image, _ := w.image("app.eif", 10, nil)
	r := w.run("run-enclave", "--eif-path", image, "--memory", "64", "--cpu-count", "2")
	w.want(r, 0)
	want := fmt.Sprintf("i-0000000000000000-enc%x", w.sys.Enclaves()[0].SlotUID())
	if got := decode[enclaveproc.RunInfo](t, r.stdout).EnclaveID; got != want {
		t.Errorf("ID is %s, want %s", got, want)
	}
}
