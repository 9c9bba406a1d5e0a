package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/guest/enclaves/enclavestest"
	"github.com/nitrolab/nitrolab/guest/nitrocli"
	"github.com/nitrolab/nitrolab/guest/nitrocli/enclaveproc"
	"github.com/nitrolab/nitrolab/images/eif"
)

// fakeVariable gives an enclave process the fake driver: its value is a
// directory with the kernel's files.
const fakeVariable = "NITROLAB_TEST_FAKE"

// TestMain is also what spawn starts: this program again.
func TestMain(m *testing.M) {
	if len(os.Args) != 2 || os.Args[1] != processCommand {
		os.Exit(m.Run())
	}
	dir := os.Getenv(fakeVariable)
	if dir == "" {
		os.Exit(enclaveProcess(enclaveproc.Config{}))
	}
	heartbeat := filepath.Join(dir, "hb")
	os.Exit(enclaveProcess(enclaveproc.Config{
		Root: dir,
		System: enclavestest.New(enclavestest.Config{
			Pool: []uint32{2, 3}, Pages: map[uint64]int{2 << 20: 32},
			Launch: func(*enclavestest.Enclave) error {
				go sendHeartbeat(heartbeat)
				return nil
			},
		}),
		Listen: func(cid, port uint32) (enclaveproc.Listener, error) {
			return net.ListenUnix("unix", &net.UnixAddr{Name: heartbeat, Net: "unix"})
		},
	}))
}

func sendHeartbeat(path string) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return
	}
	defer c.Close()
	b := []byte{ports.HeartbeatByte}
	_, _ = c.Write(b)
	_, _ = io.ReadFull(c, b)
}

// run runs nitro-cli on this machine.
func run(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = environment(&out, &errs).Main(context.Background(), args)
	return code, out.String(), errs.String()
}

// setUp makes a directory with an image, and names it in the environment.
func setUp(t *testing.T) (dir, image string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "nc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	t.Setenv(nitrocli.SocketsPathVariable, filepath.Join(dir, "s"))
	t.Setenv(nitrocli.LogsPathVariable, dir)
	image = filepath.Join(dir, "app.eif")
	section := func(s string) *io.SectionReader {
		return io.NewSectionReader(strings.NewReader(s), 0, int64(len(s)))
	}
	_, err = eif.BuildFile(image, eif.Spec{Kernel: section("kernel"), Cmdline: "x", Ramdisks: []*io.SectionReader{section("a")}})
	if err != nil {
		t.Fatal(err)
	}
	return dir, image
}

// Without a driver the process says so, through the one that started it, and is
// gone.
func TestWithoutDriver(t *testing.T) {
	if _, err := os.Stat("/sys/module/nitro_enclaves"); err == nil {
		t.Skip("this machine has the driver")
	}
	dir, image := setUp(t)
	code, stdout, stderr := run("run-enclave", "--eif-path", image, "--memory", "64", "--cpu-count", "2")
	if code != 39 || stdout != "" || !strings.Contains(stderr, "[ E19 ]") || !strings.Contains(stderr, "ne_cpus', failing operation: 'Open'") {
		t.Errorf("exit code %d, standard output %q, standard error:\n%s", code, stdout, stderr)
	}
	log, err := os.ReadFile(filepath.Join(dir, "nitro_enclaves.log"))
	if err != nil || !strings.Contains(string(log), "level=ERROR msg=\"run enclave\"") {
		t.Errorf("log holds %q, error %v", log, err)
	}
	if code, stdout, _ := run("describe-enclaves"); code != 0 || stdout != "[]\n" {
		t.Errorf("describe-enclaves: exit code %d, %q", code, stdout)
	}
}

// startFake starts an enclave of the fake driver in a process of its own.
func startFake(t *testing.T) (info enclaveproc.RunInfo, gone func()) {
	t.Helper()
	dir, image := setUp(t)
	t.Setenv(fakeVariable, dir)
	pool := filepath.Join(dir, "sys/module/nitro_enclaves/parameters")
	if err := os.MkdirAll(pool, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(pool, "ne_cpus"), []byte("2-3"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := run("run-enclave", "--eif-path", image, "--memory", "64", "--cpu-count", "2")
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &info); err != nil {
		t.Fatal(err)
	}
	// Reaped by us: the test is its parent.
	t.Cleanup(func() { _ = unix.Kill(info.ProcessID, unix.SIGKILL) })
	return info, func() {
		t.Helper()
		done := make(chan error, 1)
		go func() {
			var status unix.WaitStatus
			_, err := unix.Wait4(info.ProcessID, &status, 0, nil)
			done <- errors.Join(err, exitError(status))
		}()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("enclave process: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the enclave process goes on")
		}
	}
}

func exitError(status unix.WaitStatus) error {
	if status.Exited() && status.ExitStatus() == 0 {
		return nil
	}
	return fmt.Errorf("wait status %#x", uint32(status))
}

func TestProcess(t *testing.T) {
	info, gone := startFake(t)
	if info.ProcessID == os.Getpid() {
		t.Fatal("no process of its own")
	}
	// A session of its own, so that no terminal takes it along.
	sid, err := unix.Getsid(info.ProcessID)
	if err != nil || sid != info.ProcessID {
		t.Errorf("session %d of process %d, error %v", sid, info.ProcessID, err)
	}
	if comm, err := os.ReadFile("/proc/" + strconv.Itoa(info.ProcessID) + "/comm"); string(comm) != "nitro-cli\n" {
		t.Errorf("name is %q, error %v", comm, err)
	}
	for fd := range 3 {
		if to, err := os.Readlink("/proc/" + strconv.Itoa(info.ProcessID) + "/fd/" + strconv.Itoa(fd)); err != nil || to != os.DevNull {
			t.Errorf("descriptor %d is %q, error %v", fd, to, err)
		}
	}
	code, stdout, stderr := run("describe-enclaves")
	if code != 0 || !strings.Contains(stdout, info.EnclaveID) || !strings.Contains(stdout, `"ProcessID": `+strconv.Itoa(info.ProcessID)) {
		t.Errorf("describe-enclaves: exit code %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr = run("terminate-enclave", "--enclave-id", info.EnclaveID)
	if code != 0 || !strings.Contains(stdout, `"Terminated": true`) {
		t.Errorf("terminate-enclave: exit code %d\n%s%s", code, stdout, stderr)
	}
	gone()
}

// Ending the process ends the enclave, and nothing of it is left.
func TestProcessSignalled(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			info, gone := startFake(t)
			if err := unix.Kill(info.ProcessID, s); err != nil {
				t.Fatal(err)
			}
			gone()
			if entries, err := os.ReadDir(os.Getenv(nitrocli.SocketsPathVariable)); err != nil || len(entries) > 0 {
				t.Errorf("left over: %v, error %v", entries, err)
			}
		})
	}
}

// A process that is killed leaves a socket that the next one who looks removes.
func TestProcessKilled(t *testing.T) {
	info, _ := startFake(t)
	if err := unix.Kill(info.ProcessID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(info.ProcessID, &status, 0, nil); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := run("describe-enclaves"); code != 0 || stdout != "[]\n" {
		t.Errorf("describe-enclaves: exit code %d\n%s%s", code, stdout, stderr)
	}
	if entries, err := os.ReadDir(os.Getenv(nitrocli.SocketsPathVariable)); err != nil || len(entries) > 0 {
		t.Errorf("left over: %v, error %v", entries, err)
	}
}

// The hidden command is not for people.
func TestProcessAlone(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(exe, processCommand).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "nitro-cli run-enclave starts it") {
		t.Errorf("error %v, output %q", err, out)
	}
}
