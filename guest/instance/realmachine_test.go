package instance

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/guest/instance/control"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReadPCI(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "0000:01:00.0/vendor"), "0x1d0f\n")
	write(t, filepath.Join(dir, "0000:01:00.0/device"), "0xe4c1\n")
	if err := os.Symlink("../../bus/pci/drivers/nitro_enclaves", filepath.Join(dir, "0000:01:00.0/driver")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "0000:02:00.0/vendor"), "0x8086\n")
	write(t, filepath.Join(dir, "0000:02:00.0/device"), "0x29c0\n")
	write(t, filepath.Join(dir, "0000:03:00.0/vendor"), "0x8086\n") // on its way out
	got, err := readPCI(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []control.Device{{BDF: "0000:01:00.0", ID: "1d0f:e4c1", Driver: "nitro_enclaves"}, {BDF: "0000:02:00.0", ID: "8086:29c0"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
	if got, err := readPCI(filepath.Join(dir, "none")); got != nil || err != nil {
		t.Errorf("without PCI: %v, %v", got, err)
	}
}

func TestFindPort(t *testing.T) {
	class, dev := t.TempDir(), t.TempDir()
	write(t, filepath.Join(class, "vport1p1/name"), control.Port+"\n")
	write(t, filepath.Join(class, "vport1p2/name"), "other\n")
	write(t, filepath.Join(dev, "vport1p1"), "")
	if got, err := findPort(class, dev, control.Port); err != nil || got != filepath.Join(dev, "vport1p1") {
		t.Errorf("port is %q, %v", got, err)
	}
	for name, where := range map[string]string{"no such name": class, "other": class, control.Port: filepath.Join(class, "none")} {
		if _, err := findPort(where, dev, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s in %s: %v, want ErrNotExist", name, where, err)
		}
	}
}

// A port whose other end nobody has is at its end again and again.
type absent struct {
	mu   sync.Mutex
	ends int
}

func (a *absent) Read(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ends > 0 {
		a.ends--
		return 0, io.EOF
	}
	return copy(b, "back"), nil
}
func (a *absent) Write(b []byte) (int, error) { return len(b), nil }
func (a *absent) Close() error                { return nil }

func TestPortWaitsForHost(t *testing.T) {
	p := newPort(&absent{ends: 2})
	b := make([]byte, 10)
	if n, err := p.Read(b); err != nil || string(b[:n]) != "back" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	p = newPort(&absent{ends: 1 << 30})
	time.AfterFunc(10*time.Millisecond, func() { p.Close() })
	if _, err := p.Read(b); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("read of a closed port: %v", err)
	}
}

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, content := range []string{"one", "two"} {
		if err := (realMachine{}).WriteFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != content {
			t.Errorf("%q, %v", b, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := (realMachine{}).WriteFile(filepath.Dir(path), nil, 0o600); err == nil {
		t.Error("a folder was replaced")
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("folder has %v, %v", entries, err)
	}
	for range 2 {
		if err := (realMachine{}).Remove(path); err != nil {
			t.Error(err)
		}
	}
}

func TestFacts(t *testing.T) {
	r, err := realMachine{}.Facts()
	if err != nil {
		t.Fatal(err)
	}
	if r.Release == "" || r.UptimeMs <= 0 || r.CPUs < 1 || r.MemoryKiB < 1<<10 {
		t.Errorf("facts %+v", r)
	}
}

// Listening to the kernel ends when told to, without an event.
func TestEventsStop(t *testing.T) {
	_, stop, err := realMachine{}.Events()
	if err != nil {
		t.Skip("no uevents here: ", err)
	}
	stopped := make(chan struct{})
	go func() {
		stop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatal("stop did not return")
	}
}

func TestSet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "00")
	if err := (realMachine{}).Set(path, "3"); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); string(b) != "30" {
		t.Errorf("%q: a file of /proc is written, not replaced", b)
	}
	if err := (realMachine{}).Set(path+"x", "3"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

// The kernel's struct has two ints before the bytes; a seed that does not fit is
// refused before the kernel sees it.
func TestSeedSize(t *testing.T) {
	if err := (realMachine{}).AddEntropy(make([]byte, control.MaxSeed+1)); err == nil {
		t.Error("a seed that is too long was taken")
	}
}
