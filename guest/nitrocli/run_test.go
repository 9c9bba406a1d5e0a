package nitrocli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/guest/enclaves/enclavestest"
	"github.com/nitrolab/nitrolab/guest/nitrocli"
	"github.com/nitrolab/nitrolab/guest/nitrocli/enclaveproc"
	"github.com/nitrolab/nitrolab/images/eif"
)

func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return v
}

// The bytes of the JSON are those of serde's pretty form: names, their order,
// indentation, one number a line.
func TestRunEnclaveOutput(t *testing.T) {
	w := newWorld(t)
	image, m := w.image("app.eif", 1000, nil)
	r := w.run("run-enclave", "--eif-path", image, "--memory", "64", "--cpu-count", "2")
	w.want(r, 0)
	e := w.sys.Enclaves()[0]
	id := fmt.Sprintf("%s-enc%x", instanceID, e.SlotUID())
	wantOut := fmt.Sprintf(`{
  "EnclaveName": "app",
  "EnclaveID": "%s",
  "ProcessID": %d,
  "EnclaveCID": 16,
  "NumberOfCPUs": 2,
  "CPUIDs": [
    2,
    3
  ],
  "MemoryMiB": 64
}
`, id, os.Getpid())
	if diff := cmp.Diff(wantOut, r.stdout); diff != "" {
		t.Errorf("standard output (-want +got):\n%s", diff)
	}
	wantErr := "Start allocating memory...\nStarted enclave with enclave-cid: 16, memory: 64 MiB, cpu-ids: [2, 3]\n"
	if diff := cmp.Diff(wantErr, r.stderr); diff != "" {
		t.Errorf("standard error (-want +got):\n%s", diff)
	}
	// What the driver got.
	content, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	memory := e.Memory()
	if len(memory) != 64*mib || string(memory[8*mib:8*mib+len(content)]) != string(content) {
		t.Errorf("memory of %d MiB has no image at 8 MiB", len(memory)/mib)
	}
	if e.Debug() {
		t.Error("the enclave is in debug mode")
	}

	r = w.run("describe-enclaves")
	w.want(r, 0)
	measurements := func(indent string) string {
		return strings.ReplaceAll(fmt.Sprintf(`{
  "HashAlgorithm": "Sha384 { ... }",
  "PCR0": "%s",
  "PCR1": "%s",
  "PCR2": "%s"
}`, m.PCR0, m.PCR1, m.PCR2), "\n", "\n"+indent)
	}
	wantOut = fmt.Sprintf(`[
  {
    "EnclaveName": "app",
    "EnclaveID": "%s",
    "ProcessID": %d,
    "EnclaveCID": 16,
    "NumberOfCPUs": 2,
    "CPUIDs": [
      2,
      3
    ],
    "MemoryMiB": 64,
    "State": "RUNNING",
    "Flags": "NONE",
    "Measurements": %s
  }
]
`, id, os.Getpid(), measurements("    "))
	if diff := cmp.Diff(wantOut, r.stdout); diff != "" {
		t.Errorf("describe-enclaves (-want +got):\n%s", diff)
	}

	r = w.run("describe-enclaves", "--metadata")
	w.want(r, 0)
	d := decode[[]map[string]any](t, r.stdout)[0]
	if d["ImageName"] != "app" || d["ImageVersion"] != "1.2" {
		t.Errorf("image %v, version %v", d["ImageName"], d["ImageVersion"])
	}
	meta, _ := d["Metadata"].(map[string]any)
	if meta["KernelVersion"] != "6.12" || meta["BuildTool"] != "test" {
		t.Errorf("metadata %v", meta)
	}

	r = w.run("terminate-enclave", "--enclave-id", id)
	w.want(r, 0, "Successfully terminated enclave "+id+".\n")
	wantOut = fmt.Sprintf("{\n  \"EnclaveName\": \"app\",\n  \"EnclaveID\": \"%s\",\n  \"Terminated\": true\n}\n", id)
	if diff := cmp.Diff(wantOut, r.stdout); diff != "" {
		t.Errorf("terminate-enclave (-want +got):\n%s", diff)
	}
	if e.State() != enclavestest.Closed {
		t.Errorf("state is %v", e.State())
	}
	// At once, without waiting for the process to go.
	if r := w.run("describe-enclaves"); r.stdout != "[]\n" || r.code != 0 {
		t.Errorf("describe-enclaves afterwards: %+v", r)
	}
}

func TestRunEnclaveOptions(t *testing.T) {
	tests := []struct {
		name  string
		args  []string
		pages map[uint64]int
		check func(t *testing.T, i enclaveproc.RunInfo, e *enclavestest.Enclave)
	}{
		{
			name: "CPU IDs", args: []string{"--memory", "64", "--cpu-ids", "5", "4"},
			check: func(t *testing.T, i enclaveproc.RunInfo, e *enclavestest.Enclave) {
				if diff := cmp.Diff([]uint32{5, 4}, i.CPUIDs); diff != "" || i.NumberOfCPUs != 2 {
					t.Errorf("CPUs (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([]uint32{5, 4}, e.CPUs()); diff != "" {
					t.Errorf("driver's CPUs (-want +got):\n%s", diff)
				}
			},
		},
		{
			name: "CID and name", args: []string{"--memory", "64", "--cpu-count", "2", "--enclave-cid", "77", "--enclave-name", "my name"},
			check: func(t *testing.T, i enclaveproc.RunInfo, e *enclavestest.Enclave) {
				if i.EnclaveCID != 77 || e.CID() != 77 || i.EnclaveName != "my name" {
					t.Errorf("got %+v", i)
				}
			},
		},
		{
			name: "debug mode", args: []string{"--memory=64M", "--cpu-count=4", "--debug-mode"},
			check: func(t *testing.T, _ enclaveproc.RunInfo, e *enclavestest.Enclave) {
				if !e.Debug() || len(e.CPUs()) != 4 {
					t.Errorf("debug %v, CPUs %v", e.Debug(), e.CPUs())
				}
			},
		},
		{
			// Pages are whole, and the largest go first.
			name: "memory of mixed pages", args: []string{"--memory", "65", "--cpu-count", "2"}, pages: map[uint64]int{32 * mib: 1, 2 * mib: 64},
			check: func(t *testing.T, i enclaveproc.RunInfo, e *enclavestest.Enclave) {
				regions := e.Regions()
				if i.MemoryMiB != 66 || len(regions) != 1+17 || regions[0].Size != 32*mib {
					t.Errorf("memory %d MiB in %d regions, the first of %d MiB", i.MemoryMiB, len(regions), regions[0].Size/mib)
				}
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorldWith(t, enclavestest.Config{Pages: tt.pages})
			image, _ := w.image("app.eif", 10, nil)
			r := w.run(append([]string{"run-enclave", "--eif-path", image}, tt.args...)...)
			w.want(r, 0)
			if r.code == 0 {
				tt.check(t, decode[enclaveproc.RunInfo](t, r.stdout), w.sys.Enclaves()[0])
			}
		})
	}
}

// waitFor waits for something that another goroutine of the world does.
func (w *world) waitFor(done func() bool) {
	for !done() {
		select {
		case <-w.ctx.Done():
			return
		default:
			runtime.Gosched()
		}
	}
}

func TestSignedImageRuns(t *testing.T) {
	w := newWorld(t)
	c, k := certificate(t, testTime)
	s, err := eif.NewSigner(c, k)
	if err != nil {
		t.Fatal(err)
	}
	image, m := w.image("signed.eif", 10, s)
	w.want(w.run("run-enclave", "--eif-path", image, "--memory", "64", "--cpu-count", "2"), 0)
	r := w.run("describe-enclaves")
	w.want(r, 0)
	if !strings.Contains(r.stdout, `"PCR8": "`+m.PCR8.String()+`"`) {
		t.Errorf("no PCR8 in:\n%s", r.stdout)
	}
}

func TestTwoEnclaves(t *testing.T) {
	w := newWorld(t)
	image, _ := w.image("app.eif", 10, nil)
	run := func() result {
		return w.run("run-enclave", "--eif-path", image, "--memory", "64", "--cpu-count", "2")
	}
	first, second := run(), run()
	w.want(first, 0)
	w.want(second, 0)
	a, b := decode[enclaveproc.RunInfo](t, first.stdout), decode[enclaveproc.RunInfo](t, second.stdout)
	if a.EnclaveID == b.EnclaveID || a.EnclaveCID == b.EnclaveCID || b.EnclaveName != "app_1" {
		t.Errorf("two enclaves:\n%+v\n%+v", a, b)
	}
	// The pool has four CPUs.
	w.want(run(), 39, "[ E29 ]", "NE_CREATE_VM: no CPU of the pool is free", "[ E39 ]")

	r := w.run("describe-enclaves")
	w.want(r, 0)
	if got := decode[[]enclaveproc.DescribeInfo](t, r.stdout); len(got) != 2 {
		t.Errorf("%d enclaves are described, want 2", len(got))
	}
	// By name, the one; then all that are left.
	r = w.run("terminate-enclave", "--enclave-name", "app_1")
	w.want(r, 0)
	if got := decode[enclaveproc.TerminateInfo](t, r.stdout); got.EnclaveID != b.EnclaveID || !got.Terminated {
		t.Errorf("terminated %+v, want %s", got, b.EnclaveID)
	}
	w.want(run(), 0) // takes the free name again
	r = w.run("terminate-enclave", "--all")
	w.want(r, 0)
	if got := decode[[]enclaveproc.TerminateInfo](t, r.stdout); len(got) != 2 || !got[0].Terminated || !got[1].Terminated {
		t.Errorf("terminated %+v", got)
	}
	r = w.run("terminate-enclave", "--all")
	if r.code != 0 || r.stdout != "[]\n" {
		t.Errorf("none left: %+v", r)
	}
}

// An enclave that ends by itself takes its process and its socket along.
func TestEnclaveEnds(t *testing.T) {
	w := newWorld(t)
	image, _ := w.image("app.eif", 10, nil)
	r := w.run("run-enclave", "--eif-path", image, "--memory", "64", "--cpu-count", "2")
	w.want(r, 0)
	id := decode[enclaveproc.RunInfo](t, r.stdout).EnclaveID
	w.sys.Enclaves()[0].Crash()
	w.procs.Wait()
	if leaks := w.sys.Leaks(); leaks != "" {
		t.Errorf("left over: %s", leaks)
	}
	if r := w.run("describe-enclaves"); r.stdout != "[]\n" || r.code != 0 {
		t.Errorf("describe-enclaves: %+v", r)
	}
	w.want(w.run("terminate-enclave", "--enclave-id", id), 11, "[ E11 ] Socket error")
	w.want(w.run("console", "--enclave-id", id), 11, "[ E11 ] Socket error")
}

func TestSpawnFails(t *testing.T) {
	w := newWorld(t)
	w.spawnErr = syscall.EAGAIN
	image, _ := w.image("app.eif", 10, nil)
	w.want(w.run("run-enclave", "--eif-path", image, "--memory", "64", "--cpu-count", "2"), 1, "[ E00 ]", "resource temporarily unavailable")
}

func TestSocketsDirUnusable(t *testing.T) {
	w := newWorld(t)
	image, _ := w.image("app.eif", 10, nil)
	w.env[nitrocli.SocketsPathVariable] = w.path("no/such")
	for _, args := range [][]string{
		{"run-enclave", "--eif-path", image, "--memory", "64", "--cpu-count", "2"},
		{"describe-enclaves"}, {"terminate-enclave", "--all"}, {"terminate-enclave", "--enclave-name", "x"},
	} {
		w.want(w.run(args...), 7, "[ E07 ] Read from disk failure")
	}
	w.env[nitrocli.SocketsPathVariable] = w.path("s")
}
