package harness_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/harness"
)

// The tests of what is left after a test process run this test binary again as
// that process: the one test TestLifetimeChild, told by childEnv how to end.
const (
	childEnv      = "NITROLAB_TEST_CHILD"
	childImageEnv = "NITROLAB_TEST_IMAGE"
	rosterPrefix  = "roster: "
)

// A roster is what the child tells about itself.
type roster struct {
	QEMU int    // process id
	Dir  string // of its Host
}

// endings are the ways in which the child can end.
var endings = []struct {
	name    string
	running bool // its enclave has sent the heartbeat
	signal  syscall.Signal
	child   func(t *testing.T) // what the child does to itself
	says    string
}{
	{name: "killed", running: true, signal: syscall.SIGKILL},
	{name: "killed while its enclave boots", signal: syscall.SIGKILL},
	{name: "Ctrl-C", running: true, signal: syscall.SIGINT},
	{name: "terminal closed", signal: syscall.SIGHUP},
	{name: "t.Fatal", running: true, child: func(t *testing.T) { t.Fatal("in the middle") }, says: "in the middle"},
	{name: "panic", child: func(*testing.T) { panic("in the middle") }, says: "panic: in the middle"},
	{name: "panic in a goroutine", child: func(*testing.T) { go panic("elsewhere"); select {} }, says: "panic: elsewhere"},
	{name: "os.Exit", child: func(*testing.T) { os.Exit(3) }},
}

// However a test process ends, nothing of it is left: no QEMU, no guard, no
// folder.
func TestNothingSurvives(t *testing.T) {
	vm(t, 1)
	image := harness.SampleEIF(t)
	host := harness.New(t) // for its deadlines
	for _, tt := range endings {
		t.Run(tt.name, func(t *testing.T) {
			artifactsOf(t, "TestLifetimeChild")
			cmd := exec.Command(os.Args[0], "-test.run=^TestLifetimeChild$", "-test.count=1", "-test.timeout=10m")
			cmd.Env = append(os.Environ(), childEnv+"="+tt.name, childImageEnv+"="+image)
			// As a terminal's foreground job: Ctrl-C reaches all of its group.
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stderr = cmd.Stdout
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			lines := bufio.NewScanner(out)
			family := readRoster(t, lines)
			below := descendants(cmd.Process.Pid)
			if !contains(below, family.QEMU) || len(below) < 3 {
				t.Fatalf("below the test process are %+v; want QEMU, %d, and its guards", below, family.QEMU)
			}
			if _, err := os.Stat(family.Dir); err != nil {
				t.Fatal(err)
			}

			if tt.signal != 0 {
				err = syscall.Kill(-cmd.Process.Pid, tt.signal)
			} else {
				err = in.Close() // what it waits for
			}
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			for lines.Scan() {
				text.WriteString(lines.Text() + "\n")
			}
			if err := cmd.Wait(); err == nil {
				t.Error("the test process ended well")
			}
			if !strings.Contains(text.String(), tt.says) {
				t.Errorf("the test process did not say %q:\n%s", tt.says, text.String())
			}

			deadline := time.Now().Add(host.Timeout(10 * time.Second))
			for _, p := range below {
				for p.runs() {
					if time.Now().After(deadline) {
						t.Fatalf("process %d (%s) is left", p.pid, p.name)
					}
					time.Sleep(10 * time.Millisecond)
				}
			}
			for {
				if _, err := os.Stat(family.Dir); errors.Is(err, os.ErrNotExist) {
					break
				} else if time.Now().After(deadline) {
					t.Fatalf("%s is left (%v)", family.Dir, err)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
}

// readRoster reads the child's output up to its roster.
func readRoster(t *testing.T, lines *bufio.Scanner) (r roster) {
	t.Helper()
	var before []string
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), rosterPrefix); ok {
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				t.Fatal(err)
			}
			return r
		}
		before = append(before, lines.Text())
	}
	t.Fatalf("the test process ended early:\n%s", strings.Join(before, "\n"))
	return r
}

func contains(list []process, pid int) bool {
	for _, p := range list {
		if p.pid == pid {
			return true
		}
	}
	return false
}

// TestLifetimeChild is the test process of TestNothingSurvives.
func TestLifetimeChild(t *testing.T) {
	how := os.Getenv(childEnv)
	if how == "" {
		t.Skip("TestNothingSurvives runs it, in a process of its own")
	}
	for _, tt := range endings {
		if tt.name != how {
			continue
		}
		host := harness.New(t)
		enclave := host.StartEnclave(t, os.Getenv(childImageEnv))
		if tt.running {
			enclave.WaitRunning(t)
		}
		text, err := json.Marshal(roster{QEMU: enclave.PID(), Dir: host.Dir()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stdout.WriteString(rosterPrefix + string(text) + "\n"); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdin.Read(make([]byte, 1)) // until it is closed
		tt.child(t)
	}
}

// A Host that is closed leaves nothing behind in a process that lives on: no
// goroutine, no descriptor, no process, no folder. It does not wait for guests.
func TestCloseLeavesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("VM test: not part of the quick run")
	}
	// Not beside others, whose goroutines would be taken for its own.
	image := harness.SampleEIF(t)
	once := func(t *testing.T, stop func(*harness.Host, *harness.Enclave)) (dir string, below []process) {
		record(t, "TestFakeClose", func(tb testing.TB) {
			host := harness.New(tb)
			enclave := host.RunEnclave(tb, image)
			host.Listen(tb, 7000)
			enclave.Ask(tb, []byte("nonce"))
			booting := host.StartEnclave(tb, image)
			dir, below = host.Dir(), descendants(os.Getpid())
			if !contains(below, enclave.PID()) || !contains(below, booting.PID()) {
				tb.Errorf("below this process are %+v; want QEMU, %d and %d", below, enclave.PID(), booting.PID())
			}
			stop(host, enclave)
		}).mustPass(t)
		return dir, below
	}
	once(t, func(*harness.Host, *harness.Enclave) {}) // what is made once per process
	before, files := goleak.IgnoreCurrent(), openFiles(t)
	for _, tt := range []struct {
		name string
		stop func(*harness.Host, *harness.Enclave)
	}{
		{"end of the test", func(*harness.Host, *harness.Enclave) {}},
		{"everything ended before, twice", func(h *harness.Host, e *harness.Enclave) {
			for range 2 {
				if err := errors.Join(e.Terminate(t.Context()), h.Close()); err != nil {
					t.Error(err)
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, below := once(t, tt.stop)
			if err := goleak.Find(before); err != nil {
				t.Error(err)
			}
			for _, p := range below {
				if p.runs() {
					t.Errorf("process %d (%s) is left", p.pid, p.name)
				}
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left (%v)", dir, err)
			}
			if now := openFiles(t); len(now) > len(files) {
				t.Errorf("%d files are open, %d were before: %q", len(now), len(files), now)
			}
		})
	}
}

// openFiles lists the descriptors of this process.
func openFiles(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil {
			files = append(files, target)
		}
	}
	return files
}
