package harness_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/nitrolab/nitrolab/guest/enclaves"
	"github.com/nitrolab/nitrolab/harness"
)

// What the parent is refused, in the words and numbers that its users know:
// nitro-cli's code, and where the device had the last word, its errno.
func TestParentIsRefused(t *testing.T) {
	vm(t, 2)
	host := harness.New(t)
	parent := host.Launch(t)
	parent.Allocate(t, 512, 4)
	image, err := os.ReadFile(harness.SampleEIF(t))
	if err != nil {
		t.Fatal(err)
	}
	// damaged is the sample image in the instance with some bytes changed.
	damaged := func(name string, edit func([]byte) []byte) string {
		t.Helper()
		path := "/tmp/" + name
		command := fmt.Sprintf("cp %s %s", harness.GuestSampleEIF, path)
		for at, b := range edit(bytes.Clone(image)) {
			if b != image[at] {
				command += fmt.Sprintf(` && printf '\%03o' | dd of=%s bs=1 seek=%d conv=notrunc 2>/dev/null`, b, path, at)
			}
		}
		parent.Exec(t, command)
		return path
	}
	arm := damaged("arm64.eif", func(b []byte) []byte { b = put16(offFlags, 1)(b); fixCRC(b); return b })
	crc := damaged("crc.eif", func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	magic := damaged("magic.eif", func(b []byte) []byte { b[0] = 'x'; return b })

	const einval = "NE_START_ENCLAVE: invalid argument"
	for _, tt := range []struct {
		name  string
		image string
		args  string
		want  []string // in nitro-cli's words
	}{
		{"memory below 4 times the image", harness.GuestSampleEIF, "--memory 64 --cpu-count 2", []string{"[ E26 ]"}},
		{"more memory than is set aside", harness.GuestSampleEIF, "--memory 1024 --cpu-count 2", []string{"[ E27 ]"}},
		{"CPU 0", harness.GuestSampleEIF, "--memory 256 --cpu-ids 0 1", []string{"[ E21 ]", "CPU 0"}},
		{"more CPUs than are set aside", harness.GuestSampleEIF, "--memory 256 --cpu-count 6", []string{"[ E22 ]"}},
		{"the parent's CID", harness.GuestSampleEIF, "--memory 256 --cpu-count 2 --enclave-cid 3", []string{"[ E03 ]"}},
		{"no such file", "/none.eif", "--memory 256 --cpu-count 2", []string{"[ E19 ]", "/none.eif"}},
		{"no image", magic, "--memory 256 --cpu-count 2", []string{"[ E29 ]", einval}},
		{"wrong architecture", arm, "--memory 256 --cpu-count 2", []string{"[ E29 ]", einval}},
		{"wrong CRC", crc, "--memory 256 --cpu-count 2", []string{"[ E29 ]", einval}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parent.TryExec(t, "nitro-cli run-enclave --eif-path "+tt.image+" "+tt.args)
			text := harness.ExitText(err)
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("run-enclave: %v, want %q", err, want)
				}
			}
		})
	}
	if n := len(parent.Enclaves()); n != 0 {
		t.Errorf("%d enclaves run", n)
	}

	t.Run("slots and CPUs", func(t *testing.T) {
		var l struct{ Slots, SlotErrno, CPUErrno int }
		out := parent.Exec(t, "hostile limits")
		if err := json.Unmarshal([]byte(out), &l); err != nil {
			t.Fatalf("hostile prints %q: %v", out, err)
		}
		if l.Slots != 4 || syscall.Errno(l.SlotErrno) != syscall.ENOSPC || enclaves.Errno(l.CPUErrno) != enclaves.ErrVCPUNotInCPUPool {
			t.Errorf("%+v; want 4 slots, then ENOSPC, and for a CPU of the parent's own core NE_ERR_VCPU_NOT_IN_CPU_POOL", l)
		}
	})

	// All that was refused has been given back.
	parent.RunEnclave(t, harness.GuestSampleEIF, 512, 4)
}
