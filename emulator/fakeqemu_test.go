package emulator

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/guest/instance/control"
	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/toolchain"
	kit "github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
)

// fakeEnv makes the test binary play QEMU; see playQEMU for its values.
const fakeEnv = "NITROLAB_TEST_QEMU"

func TestMain(m *testing.M) {
	if plot := os.Getenv(fakeEnv); plot != "" {
		os.Exit(playQEMU(plot))
	}
	goleak.VerifyTestMain(m)
}

// playQEMU is a QEMU of which the monitor and the console are real. The devices
// are not: the test plays the guest's driver on its own side, see [guest]. The
// plot says what happens when the guest is told to run.
func playQEMU(plot string) int {
	if plot == "refuse" {
		fmt.Fprintln(os.Stderr, "qemu: unsupported machine type: microvm")
		return 1
	}
	monitor, console := inherited("monitor"), inherited("console")
	if plot == "mute" { // its monitor does not answer
		_, _ = io.Copy(io.Discard, monitor)
		return 1
	}
	send := func(format string, args ...any) { fmt.Fprintf(monitor, format+"\r\n", args...) }
	send(`{"QMP": {"version": {"qemu": {"micro": 0, "minor": 0, "major": 99}, "package": ""}, "capabilities": []}}`)
	for lines := bufio.NewScanner(monitor); lines.Scan(); {
		var cmd struct {
			Execute string
			ID      json.RawMessage
		}
		if json.Unmarshal(lines.Bytes(), &cmd) != nil {
			return 2
		}
		send(`{"return": {}, "id": %s}`, cmd.ID)
		if cmd.Execute != "cont" {
			continue
		}
		fmt.Fprint(console, "Linux version 6.12.0\r\n")
		switch plot {
		case "run", "silent":
		case "instance", "instance without cards":
			go serveControl(inherited("control-socket"), plot == "instance")
		case "panic and hang":
			fmt.Fprint(console, "[ 1.0] Kernel panic - not syncing: Fatal exception\r\n")
		case "panic":
			fmt.Fprint(console, "[ 1.0] Kernel panic - not syncing: No working init found\r\n")
			send(`{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}, "timestamp": {"seconds": 1, "microseconds": 2}}`)
			return 0
		case "echo": // ends when it is told what to say
			said, _ := bufio.NewReader(console).ReadString('\n')
			fmt.Fprint(console, said)
			send(`{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}, "timestamp": {"seconds": 1, "microseconds": 2}}`)
			return 0
		case "crash":
			fmt.Fprintln(os.Stderr, "qemu: Assertion `x' failed.")
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
	return 0
}

// serveControl plays the init of an instance.
func serveControl(port *os.File, cards bool) {
	_ = control.Serve(context.Background(), port, fakeInit{cards})
}

type fakeInit struct{ cards bool }

func (fakeInit) Resume(_ context.Context, r *control.Resume) (*control.Ready, error) {
	if len(r.Seed) != seedBytes || r.InstanceID == "" || r.Hostname != r.InstanceID {
		return nil, fmt.Errorf("resume: %+v", r)
	}
	return &control.Ready{BootID: "01234567-89ab-4cde-8f01-23456789abcd", Release: "6.12.0-fake", UptimeMs: 1, CPUs: 4, MemoryKiB: 1}, nil
}

func (fakeInit) Quiesce(context.Context) error { return nil }

func (f fakeInit) Devices(ctx context.Context, want []string) ([]control.Device, error) {
	if !f.cards {
		return nil, &control.Error{Code: control.Missing, Message: "nothing was plugged", Missing: want}
	}
	return nil, nil
}

// inherited opens the socket that the arguments give a character device.
func inherited(id string) *os.File {
	for _, a := range os.Args {
		if fd, ok := strings.CutPrefix(a, "socket,id="+id+",fd="); ok {
			if n, err := strconv.Atoi(fd); err == nil {
				return os.NewFile(uintptr(n), id)
			}
		}
	}
	fmt.Fprintf(os.Stderr, "fake QEMU: no socket %q in %q\n", id, os.Args)
	os.Exit(4)
	return nil
}

// A fakeHost is a Host whose QEMU is a fake.
type fakeHost struct {
	*Host
	state, artifacts string
}

// newFakeHost makes one. When the test ends nothing of it may be left.
func newFakeHost(t *testing.T, plot string, edit ...func(*Config)) *fakeHost {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := &fakeHost{state: filepath.Join(dir, "state"), artifacts: filepath.Join(dir, "my artifacts")}
	cfg := Config{
		Tools:        &toolchain.Toolchain{QEMU: &toolchain.QEMU{Argv: []string{self, "-test.run=none"}, Env: []string{fakeEnv + "=" + plot}}},
		Accel:        qemu.Accel{Name: qemu.KVM},
		StateDir:     f.state,
		CacheDir:     filepath.Join(dir, "cache"),
		ArtifactsDir: f.artifacts,
	}
	for _, e := range edit {
		e(&cfg)
	}
	if f.Host, err = NewHost(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("close host: %v", err)
		}
		left, err := filepath.Glob(filepath.Join(f.state, "*.state"))
		if err != nil || len(left) > 0 {
			t.Errorf("the host left %v, %v", left, err)
		}
	})
	return f
}

// smallSpec is a correct image of a few kilobytes that boots nowhere, with a
// kernel like Debian's.
func smallSpec(t testing.TB) eif.Spec {
	t.Helper()
	k := kit.Kernel{Release: "6.12.0-fake", PVH: true}
	return eif.Spec{
		Arch:     eif.X86_64,
		Kernel:   section(kit.BzImage(k.Release, kit.Payload(t, "gzip", k.ELF(t)))),
		Cmdline:  "console=ttyS0",
		Ramdisks: []*io.SectionReader{section([]byte("ramdisk 1")), section([]byte("ramdisk 2"))},
		Metadata: eif.Metadata{ImageName: "fake", ImageVersion: "1"},
	}
}

func section(b []byte) *io.SectionReader {
	return io.NewSectionReader(strings.NewReader(string(b)), 0, int64(len(b)))
}

// writeEIF builds an image into a file of the test.
func writeEIF(t testing.TB, spec eif.Spec) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.eif")
	if _, err := eif.BuildFile(path, spec); err != nil {
		t.Fatal(err)
	}
	return path
}

// small is the least that may be asked for.
func small(t testing.TB) EnclaveConfig {
	t.Helper()
	return EnclaveConfig{EIFPath: writeEIF(t, smallSpec(t)), MemoryMiB: MinMemoryMiB, CPUs: 1, HangTimeout: -1}
}

// start starts an enclave that is to get as far as its machine.
func (f *fakeHost) start(t *testing.T, cfg EnclaveConfig) *Enclave {
	t.Helper()
	e, err := f.StartEnclave(t.Context(), cfg)
	if err != nil {
		t.Fatal(Report(err))
	}
	return e
}

// beat lets an enclave's guest send its heartbeat, and returns the guest.
func beat(t *testing.T, e *Enclave) *guest {
	t.Helper()
	g := newGuest(t, e.machine.vsock)
	g.beat(3, 1000)
	closed(t, e.running, "running")
	return g
}

// ended waits for an enclave's end.
func ended(t *testing.T, e *Enclave) {
	t.Helper()
	select {
	case <-e.Done():
	case <-time.After(patience):
		t.Fatal("the enclave did not end")
	}
}

// until waits for a condition that nothing announces.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Errorf("%s did not happen", what)
			return
		}
	}
}
