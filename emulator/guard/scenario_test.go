package guard

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests that kill an owner run the test binary again as that owner.
const (
	ownerEnv = "GUARD_TEST_OWNER" // the scenario
	markEnv  = "GUARD_TEST_MARK"  // in every process of the family but the guards
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(ownerEnv) != "" {
		if err := beOwner(); err != nil {
			fmt.Fprintln(os.Stderr, "owner:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// family is a child that is as hard to kill as can be without privileges: it
// ignores every signal that can be ignored and has four descendants, of which
// one is in a process group of its own, one in a session of its own and one a
// daemon with nobody's parentage.
const family = `
trap "" INT TERM HUP QUIT
sleep 1001 &
setsid sleep 1002 &
(setsid sh -c 'sleep 1003; exit' &)
echo ready
sleep 1004
exit`

// familyMin is how many processes that makes: two sh and four sleep, of which
// some shells save one by exec.
const familyMin = 5

// A roster is what the owner tells the test.
type roster struct {
	Child, Spare, Keeper int
	State, Extra, Dir    string
}

// beOwner is the owner: it starts the family, tells who is who, and then waits
// to be killed.
func beOwner() error {
	base := os.Getenv("GUARD_TEST_BASE")
	extra := filepath.Join(base, "extra")
	if err := os.MkdirAll(filepath.Join(extra, "deep", "er"), 0o700); err != nil {
		return err
	}
	sock := filepath.Join(base, "socket")
	if err := os.WriteFile(sock, nil, 0o600); err != nil {
		return err
	}
	dir, err := TempDir(filepath.Join(base, "state"), "host")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir.Path(), "file"), nil, 0o600); err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := family
	if os.Getenv(ownerEnv) == "quick" {
		cmd = "echo ready; exec sleep 1000"
	}
	p, err := Start(context.Background(), Config{
		Path:   "sh",
		Args:   []string{"-c", cmd},
		Env:    append(os.Environ(), ownerEnv+"="),
		Stdout: w,
		Remove: []string{extra, sock},
	})
	if err != nil {
		return err
	}
	_ = w.Close()
	if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
		return err
	}
	survive() // Ctrl-C: the owner decides; here it does nothing
	err = json.NewEncoder(os.Stdout).Encode(roster{
		Child: p.Pid(), Spare: p.cmd.Process.Pid, Keeper: p.keeper,
		State: dir.Path(), Extra: extra, Dir: sock,
	})
	if err != nil {
		return err
	}
	switch os.Getenv(ownerEnv) {
	case "panic":
		panic("the owner panics")
	case "exit":
		os.Exit(3)
	}
	_, err = p.Wait()
	fmt.Printf("wait: %v\n", err)
	select {}
}

// An owner is the other side of beOwner.
type owner struct {
	roster
	t    *testing.T
	cmd  *exec.Cmd
	out  *bufio.Reader
	mark string
	base string
}

// newOwner starts an owner with its family and waits until all are there. The
// owner is the leader of a process group, as a terminal's foreground job is.
func newOwner(t *testing.T, scenario string) *owner {
	t.Helper()
	o := &owner{t: t, mark: rand.Text(), base: t.TempDir()}
	o.cmd = exec.Command("/proc/self/exe")
	o.cmd.Env = append(os.Environ(), ownerEnv+"="+scenario, markEnv+"="+o.mark, "GUARD_TEST_BASE="+o.base)
	o.cmd.Stderr = os.Stderr
	if scenario == "panic" {
		o.cmd.Stderr = nil
	}
	o.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := o.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	o.out = bufio.NewReader(out)
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = o.cmd.Process.Kill()
		_ = o.cmd.Wait()
		for _, pid := range o.survivors() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	})
	line, err := o.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("owner said %q: %v", line, err)
	}
	if err := json.Unmarshal(line, &o.roster); err != nil {
		t.Fatal(err)
	}
	return o
}

// whole waits until the family is complete.
func (o *owner) whole() {
	o.t.Helper()
	eventually(o.t, "the family is complete", func() bool { return len(o.survivors()) >= familyMin })
}

// survivors lists the live processes of the family, the owner left out.
func (o *owner) survivors() []int {
	var alive []int
	for _, pid := range processes() {
		if pid == o.cmd.Process.Pid {
			continue
		}
		env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
		if err == nil && bytes.Contains(env, []byte(markEnv+"="+o.mark)) && alivePid(pid) {
			alive = append(alive, pid)
		}
	}
	slices.Sort(alive)
	return alive
}

// kill kills processes as if at one moment. Children come before their parents:
// when a parent dies first, its child's process group is orphaned, and the
// kernel continues what is stopped there.
func (o *owner) kill(pids ...int) {
	o.t.Helper()
	// Stop them all first, so that none can act between two kills. A signal
	// takes its time to arrive.
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
			o.t.Fatalf("stop %d: %v", pid, err)
		}
	}
	for _, pid := range pids {
		eventually(o.t, fmt.Sprintf("process %d has stopped", pid), func() bool {
			st, ok := readStat(pid)
			return ok && st.state == 'T'
		})
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			o.t.Fatalf("kill %d: %v", pid, err)
		}
	}
	if slices.Contains(pids, o.cmd.Process.Pid) {
		_ = o.cmd.Wait()
	}
}

func alivePid(pid int) bool {
	st, ok := readStat(pid)
	return ok && st.state != 'Z' && st.state != 'X'
}

// describe names processes for a failure message.
func describe(pids []int) string {
	var b strings.Builder
	for _, pid := range pids {
		cmdline, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		st, _ := readStat(pid)
		fmt.Fprintf(&b, "\n  %d (ppid %d, state %c): %q", pid, st.ppid, st.state, cmdline)
	}
	return b.String()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// eventually polls until cond holds or patience ends.
func eventually(t *testing.T, what string, cond func() bool) bool {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if cond() {
			return true
		}
		if time.Now().After(deadline) {
			t.Errorf("after %v it is not so that %s", patience, what)
			return false
		}
	}
}
