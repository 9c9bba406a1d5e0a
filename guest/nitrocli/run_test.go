package nitrocli_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
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

// Every way in which a start can fail, with the code that nitro-cli reports and
// then exits with: what the enclave process says comes first, and E39 because it
// then said nothing else.
func TestRunEnclaveFailures(t *testing.T) {
	signed := func(w *world, at int) string {
		c, k := certificate(w.t, testTime.AddDate(at, 0, 0))
		s, err := eif.NewSigner(c, k)
		if err != nil {
			w.t.Fatal(err)
		}
		path, _ := w.image("signed.eif", 10, s)
		return path
	}
	patched := func(w *world, at int, b byte) string {
		path, _ := w.image("patched.eif", 10, nil)
		content, err := os.ReadFile(path)
		if err != nil {
			w.t.Fatal(err)
		}
		content[at] ^= b
		return w.write("patched.eif", string(content))
	}
	refuse := func(err error) func(*enclavestest.Enclave) error {
		return func(*enclavestest.Enclave) error { return err }
	}
	tests := []struct {
		name  string
		sys   enclavestest.Config
		setup func(w *world) string // returns the image, "" for a good one
		args  []string              // "" for 64 MiB and 2 CPUs
		want  []string              // of standard error, in order
		used  bool                  // a slot was taken before
	}{
		{
			name: "no image", setup: func(w *world) string { return w.path("missing.eif") },
			want: []string{"[ E19 ] File operation failure", "missing.eif', failing operation: 'Open'"},
		},
		{
			name: "image is a directory", setup: func(w *world) string { return w.dir },
			want: []string{"[ E19 ] File operation failure", "not a regular file"},
		},
		{
			name: "image is a FIFO", setup: func(w *world) string {
				if err := syscall.Mkfifo(w.path("fifo"), 0o600); err != nil {
					w.t.Fatal(err)
				}
				return w.path("fifo")
			},
			want: []string{"[ E19 ]", "not a regular file"},
		},
		{
			name: "no driver", setup: func(w *world) string {
				if err := os.RemoveAll(w.root); err != nil {
					w.t.Fatal(err)
				}
				return ""
			},
			want: []string{"[ E19 ]", "File: '/sys/module/nitro_enclaves/parameters/ne_cpus', failing operation: 'Open'"},
		},
		{
			name: "pool of words", setup: func(w *world) string {
				w.file("sys/module/nitro_enclaves/parameters/ne_cpus", "two\n")
				return ""
			},
			want: []string{"[ E23 ] Malformed CPU ID error"},
		},
		{
			name: "pool that is no range", setup: func(w *world) string {
				w.file("sys/module/nitro_enclaves/parameters/ne_cpus", "0-3-7\n")
				return ""
			},
			want: []string{"[ E24 ] CPU error"},
		},
		{
			name: "empty pool", setup: func(w *world) string {
				w.file("sys/module/nitro_enclaves/parameters/ne_cpus", "\n")
				return ""
			},
			want: []string{"[ E22 ] Insufficient CPUs available in the pool. `cpu-count` is 2"},
		},
		{
			name: "CPU twice", args: []string{"--memory", "64", "--cpu-ids", "3", "3", "4", "4", "3"},
			want: []string{"[ E20 ] Invalid CPU configuration. `cpu-ids` has CPU 3, 4 more than once."},
		},
		{
			name: "CPU 0", args: []string{"--memory", "64", "--cpu-ids", "0", "2"},
			want: []string{"[ E21 ] No such CPU available in the pool. `cpu-ids` has CPU 0, which", "the pool is \"2-5\""},
		},
		{
			name: "CPU outside the pool", args: []string{"--memory", "64", "--cpu-ids", "2", "6"},
			want: []string{"[ E21 ] No such CPU available in the pool. `cpu-ids` has CPU 6, which"},
		},
		{
			// Nobody has so many, but a list that long must not hurt.
			name: "CPU twice before CPU outside", args: []string{"--memory", "64", "--cpu-ids", "9", "9"},
			want: []string{"[ E20 ]"},
		},
		{
			name: "too many CPUs", args: []string{"--memory", "64", "--cpu-count", "5"},
			want: []string{"[ E22 ] Insufficient CPUs available in the pool. `cpu-count` is 5"},
		},
		{
			name: "memory below 4 times the image",
			setup: func(w *world) string {
				path, _ := w.image("large.eif", 17*mib, nil)
				return path
			},
			args: []string{"--memory", "64", "--cpu-count", "2"},
			want: []string{"[ E26 ] Insufficient memory requested. `memory` is 64 MB, but based on the EIF file size, the minimum memory is 72 MB"},
		},
		{
			name: "no memory", args: []string{"--memory", "0", "--cpu-count", "2"},
			want: []string{"[ E26 ] Insufficient memory requested. `memory` is 0 MB"},
		},
		{
			name: "no device file", setup: func(w *world) string {
				w.sys.FailOpen(syscall.ENOENT)
				return ""
			},
			want: []string{"[ E19 ]", "File: '/dev/nitro_enclaves', failing operation: 'Open'"},
		},
		{
			name: "no CPU free", sys: enclavestest.Config{Pool: []uint32{}},
			want: []string{"[ E29 ] Ioctl failure", "NE_CREATE_VM: no CPU of the pool is free (NE_ERR_NO_CPUS_AVAIL_IN_POOL, 272)"},
		},
		{
			name: "image shorter than its header", setup: func(w *world) string { return w.write("short.eif", ".eif") }, used: true,
			want: []string{"[ E59 ] EIF signature checker error", "read EIF header"},
		},
		{
			name: "unknown section", used: true,
			setup: func(w *world) string { return patched(w, eif.HeaderSize, 0x40) }, // type of the first section
			want:  []string{"[ E59 ] EIF signature checker error", "section type 16385 is unknown"},
		},
		{
			name: "expired certificate", setup: func(w *world) string { return signed(w, -1) }, used: true,
			want: []string{"[ E59 ] EIF signature checker error", "expired"},
		},
		{
			name: "certificate of the future", setup: func(w *world) string { return signed(w, 1) }, used: true,
			want: []string{"[ E59 ]", "not valid yet"},
		},
		{
			name: "broken magic, left to the hypervisor", used: true, sys: enclavestest.Config{Launch: refuse(syscall.EINVAL)},
			setup: func(w *world) string { return patched(w, 0, 1) },
			want:  []string{"Start allocating memory...", "[ E29 ] Ioctl failure", "NE_START_ENCLAVE: invalid argument"},
		},
		{
			name: "wrong architecture, left to the hypervisor", used: true, sys: enclavestest.Config{Launch: refuse(syscall.EINVAL)},
			setup: func(w *world) string { return patched(w, 7, 1) },
			want:  []string{"[ E29 ] Ioctl failure", "NE_START_ENCLAVE: invalid argument"},
		},
		{
			name: "too few huge pages", args: []string{"--memory", "512", "--cpu-count", "2"}, used: true,
			want: []string{"Start allocating memory...", "[ E27 ] Insufficient memory available. `memory` is 512 MB", "384 MiB of 512 MiB are missing"},
		},
		{
			name: "memory that no machine has", args: []string{"--memory", "18446744073709551615", "--cpu-count", "2"}, used: true,
			want: []string{"[ E27 ] Insufficient memory available. `memory` is 18446744073709551615 MB"},
		},
		{
			name: "image behind the end of the memory", used: true, sys: enclavestest.Config{ImageOffset: 64*mib - 100},
			want: []string{"[ E34 ] Memory overflow"},
		},
		{
			name: "too many regions", sys: enclavestest.Config{MaxRegions: 4}, used: true,
			want: []string{"[ E29 ]", "region 5 of 32: NE_SET_USER_MEMORY_REGION", "NE_ERR_MEM_MAX_REGIONS, 265"},
		},
		{
			name: "CPU that another enclave has", used: true,
			sys:  enclavestest.Config{Pool: []uint32{2, 3, 4}}, // fewer than the pool's file says
			args: []string{"--memory", "64", "--cpu-ids", "4", "5"},
			want: []string{"[ E29 ]", "NE_ADD_VCPU vCPU 5", "NE_ERR_VCPU_NOT_IN_CPU_POOL, 257"},
		},
		{
			name: "no CPU asked for", args: []string{"--memory", "64", "--cpu-count", "0"}, used: true,
			want: []string{"[ E29 ]", "NE_START_ENCLAVE: the enclave has no vCPU (NE_ERR_NO_VCPUS_ADDED, 267)"},
		},
		{
			name: "half a core", args: []string{"--memory", "64", "--cpu-count", "1"}, used: true,
			want: []string{"[ E29 ]", "NE_ERR_FULL_CORES_NOT_USED, 269"},
		},
		{
			name: "memory below the driver's minimum", args: []string{"--memory", "62", "--cpu-count", "2"}, used: true,
			want: []string{"[ E29 ]", "NE_ERR_ENCLAVE_MEM_MIN_SIZE, 268"},
		},
		{
			name: "port of the heartbeat taken", used: true,
			setup: func(w *world) string {
				l, err := net.Listen("unix", w.heartbeatPath())
				if err != nil {
					w.t.Fatal(err)
				}
				w.t.Cleanup(func() { l.Close() })
				return ""
			},
			want: []string{"[ E36 ] Enclave boot failure", "listen for the heartbeat on vsock 3:9000"},
		},
		{
			name: "hypervisor fails", used: true, sys: enclavestest.Config{Launch: refuse(syscall.EIO)},
			want: []string{"[ E29 ]", "NE_START_ENCLAVE: input/output error"},
		},
		{
			name: "crash before the heartbeat", used: true,
			setup: func(w *world) string {
				w.behave = func(e *enclavestest.Enclave, _ func() net.Conn) {
					w.waitFor(func() bool { return e.State() == enclavestest.Running })
					e.Crash()
				}
				return ""
			},
			want: []string{"Started enclave with enclave-cid: 16", "[ E36 ] Enclave boot failure", "the enclave ended before it reported"},
		},
		{
			name: "crash inside the heartbeat", used: true,
			setup: func(w *world) string {
				w.behave = func(e *enclavestest.Enclave, dial func() net.Conn) {
					c := dial() // and never a byte
					w.waitFor(func() bool { return e.State() == enclavestest.Running })
					e.Crash()
					w.enclave.Go(func() { <-w.ctx.Done(); c.Close() })
				}
				return ""
			},
			want: []string{"[ E36 ]", "the enclave ended before it reported"},
		},
		{
			name: "another byte", used: true,
			setup: func(w *world) string {
				w.behave = func(_ *enclavestest.Enclave, dial func() net.Conn) {
					c := dial()
					defer c.Close()
					_, _ = c.Write([]byte{0x42})
				}
				return ""
			},
			want: []string{"[ E36 ]", "heartbeat is 0x42 instead of 0xb7"},
		},
		{
			name: "heartbeat without a byte", used: true,
			setup: func(w *world) string {
				w.behave = func(_ *enclavestest.Enclave, dial func() net.Conn) { dial().Close() }
				return ""
			},
			want: []string{"[ E36 ]", "read heartbeat: EOF"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorldWith(t, tt.sys)
			image, _ := w.image("good.eif", 10, nil)
			if tt.setup != nil {
				if path := tt.setup(w); path != "" {
					image = path
				}
			}
			args := tt.args
			if args == nil {
				args = []string{"--memory", "64", "--cpu-count", "2"}
			}
			r := w.run(append([]string{"run-enclave", "--eif-path", image}, args...)...)
			w.want(r, 39, append(tt.want, "Failed connections: 1", "[ E39 ] Enclave process connection failure")...)
			if r.stdout != "" {
				t.Errorf("standard output has %q", r.stdout)
			}
			if used := len(w.sys.Enclaves()) > 0; used != tt.used {
				t.Errorf("a slot was taken: %v, want %v", used, tt.used)
			}
			// And the next one starts.
			w.procs.Wait()
			if leaks := w.sys.Leaks(); leaks != "" {
				t.Errorf("left over: %s", leaks)
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
