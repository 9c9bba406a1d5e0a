package qemu

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/images/toolchain"
)

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// ownerEnv makes the test binary the owner of a guest; its value is an
// ownerOrder. The test then kills it.
const ownerEnv = "QEMU_TEST_OWNER"

type ownerOrder struct {
	Binary, Env, Remove []string
	Kernel              string // empty for the fake
	Dir                 string
}

func beOwner() int {
	var o ownerOrder
	if err := json.Unmarshal([]byte(os.Getenv(ownerEnv)), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	devices := []Device{Microvm{}, CPU{Model: "max", Count: 1}, Memory{MiB: 256, Shared: true}, I8042{}}
	if o.Kernel != "" {
		devices = append(devices, Kernel{Image: o.Kernel, Append: "console=ttyS0 panic=0"})
	}
	p, err := Start(context.Background(), Config{
		Binary: o.Binary, Env: o.Env, Devices: devices, Dir: o.Dir, Remove: o.Remove,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := p.Console().WaitFor(context.Background(), "Linux version"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(p.Pid())
	select {}
}

// testKilledOwner starts an owner, kills it with SIGKILL, and looks for what is
// left.
func testKilledOwner(t *testing.T, o ownerOrder) {
	base := t.TempDir()
	o.Dir = filepath.Join(base, "state")
	if err := os.Mkdir(o.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	o.Remove = []string{o.Dir}
	order, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), ownerEnv+"="+string(order))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatalf("owner did not start a guest: %v", err)
	}
	if err := unix.Kill(pid, 0); err != nil {
		t.Fatalf("QEMU does not run: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	killed := time.Now()
	for deadline := killed.Add(patience); ; time.Sleep(5 * time.Millisecond) {
		alive := unix.Kill(pid, 0) == nil
		_, err := os.Stat(o.Dir)
		if !alive && os.IsNotExist(err) {
			t.Logf("all gone %v after the owner", time.Since(killed))
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("QEMU lives: %v, directory: %v", alive, err == nil)
		}
	}
}

func TestKilledOwner(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	testKilledOwner(t, ownerOrder{
		Binary: []string{self},
		Env:    []string{fakeEnv + "=run"},
	})
}

// realQEMU returns QEMU, as words in front of its arguments, and a kernel.
func realQEMU(t *testing.T) (binary []string, kernel string) {
	t.Helper()
	if testing.Short() {
		t.Skip("VM test: not part of the quick run")
	}
	tools, err := toolchain.Find(t.Context(), toolchain.Options{Parts: toolchain.PartQEMU | toolchain.PartKernel})
	if err != nil {
		t.Fatalf("no virtual machine can be started here: %v", err)
	}
	return slices.Concat([]string{"env"}, tools.QEMU.Env, tools.QEMU.Argv), tools.Kernel.Image
}
