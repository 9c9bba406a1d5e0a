package qemu

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digitalocean/go-qemu/qmp/raw"

	"github.com/nitrolab/nitrolab/emulator/guard"
)

// TestRealPanic boots a kernel that finds no init and says so.
func TestRealPanic(t *testing.T) {
	binary, kernel := realQEMU(t)
	began := time.Now()
	devices := []Device{
		Microvm{},
		Accel{},
		CPU{Model: "max", Count: 1},
		Memory{MiB: 256, Shared: true},
		I8042{},
		Sandbox{},
		Kernel{Image: kernel, Append: "console=ttyS0 panic=-1 reboot=k"},
	}
	khz, err := HostTSCKHz()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(within(t), Config{
		Binary:  binary,
		Devices: append(devices, TSC{KHz: khz}),
		Dir:     t.TempDir(),
		Name:    "panic, with a comma",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	t.Logf("monitor of QEMU %s connected after %v", p.QMP().Greeting().Version, time.Since(began))
	status, err := raw.NewMonitor(p.QMP()).QueryStatus()
	if err != nil || !status.Running {
		t.Errorf("status %+v, %v; want running", status, err)
	}
	select {
	case <-p.Done():
	case <-time.After(Accel{}.Timeout(30 * time.Second)):
		t.Fatalf("the guest does not end:\n%s", Printable(p.Console().Tail(4096)))
	}
	t.Logf("ended after %v: %v", time.Since(began), p.Wait())
	if e := p.Wait(); !errors.Is(e, ErrGuestPanic) || e.Reason != "guest-reset" || !e.Status.Success() {
		t.Errorf("exit %v (reason %q, status %v), want a panic and a reset", e, e.Reason, e.Status)
	}
	err = p.Explain("no heartbeat within 180 s")
	var boot *BootError
	if !errors.As(err, &boot) {
		t.Fatalf("Explain() = %T %v", err, err)
	}
	if boot.Finding == nil || !strings.Contains(boot.Finding.Line, "Unable to mount root fs") {
		t.Errorf("finding %+v", boot.Finding)
	}
	if !strings.Contains(string(boot.Console), "tsc: Detected "+itoa(khz/1000)) {
		t.Error("the kernel did not take the frequency that it was given")
	}
	t.Logf("\n%s", boot.Report())

	// The printed line, in a shell, shows the same.
	out, err := exec.CommandContext(within(t), "sh", filepath.Join(boot.Kept, "command.sh")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Kernel panic - not syncing: VFS") {
		t.Errorf("the command line to reproduce it gives %v:\n%s", err, Printable(out))
	}
}

// TestRealMemoryFile sees a guest's RAM through the file.
func TestRealMemoryFile(t *testing.T) {
	binary, kernel := realQEMU(t)
	ram, err := os.CreateTemp(t.TempDir(), "ram")
	if err != nil {
		t.Fatal(err)
	}
	const size = 256 << 20
	if err := ram.Truncate(size); err != nil {
		t.Fatal(err)
	}
	view, err := os.Open(ram.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	p, err := Start(within(t), Config{
		Binary: binary,
		Devices: []Device{
			Microvm{}, CPU{Model: "max", Count: 1}, MemoryFile{MiB: 256, File: ram}, I8042{},
			Kernel{Image: kernel, Append: "console=ttyS0 panic=0"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Console().WaitFor(within(t), "Linux version"); err != nil {
		t.Fatal(err)
	}
	if err := p.QMP().Execute(within(t), "stop", nil, nil); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	found := false
	for off := int64(0); off < size && !found; off += int64(len(buf)) {
		if _, err := view.ReadAt(buf, off); err != nil {
			t.Fatal(err)
		}
		found = strings.Contains(string(buf), "Linux version ")
	}
	if !found {
		t.Error("the guest's RAM is not in the file")
	}
}

func TestRealKilledOwner(t *testing.T) {
	binary, kernel := realQEMU(t)
	testKilledOwner(t, ownerOrder{Binary: binary, Kernel: kernel})
}

// TestRealNoBackEnd: a vhost-user back end that hangs up makes QEMU fail, and
// QEMU's own words are in the error.
func TestRealNoBackEnd(t *testing.T) {
	binary, _ := realQEMU(t)
	local, remote, err := guard.SocketPair()
	if err != nil {
		t.Fatal(err)
	}
	_ = local.Close()
	_, err = Start(within(t), Config{
		Binary: binary,
		Devices: []Device{
			Microvm{}, Memory{MiB: 64, Shared: true},
			VhostUser{ID: "vsock", Driver: DriverVsock, Bus: MMIOSlot(0), File: remote},
		},
	})
	var infra *InfraError
	if !errors.As(err, &infra) || !strings.Contains(err.Error(), "vhost") {
		t.Errorf("Start() = %T %v", err, err)
	}
	t.Log(err)
}

// TestRealProbe reports what the probe says here and how long it takes. Any
// answer is right; none, or one that differs the second time, is not.
func TestRealProbe(t *testing.T) {
	binary, kernel := realQEMU(t)
	cfg := ProbeConfig{Binary: binary, Kernel: kernel, CacheDir: t.TempDir()}
	var first Accel
	for i := range 2 {
		began := time.Now()
		a, err := ProbeAccel(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s, after %v", a, time.Since(began))
		if i == 0 {
			first = a
		}
		if a != first {
			t.Errorf("first %s, then %s", first, a)
		}
	}
}
