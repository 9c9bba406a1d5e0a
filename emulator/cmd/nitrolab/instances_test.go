package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// wantLines fails unless text matches an expression as a whole.
func wantLines(t *testing.T, what, text, expression string) {
	t.Helper()
	if !regexp.MustCompile(`^` + expression + `$`).MatchString(text) {
		t.Errorf("%s is\n%s\nwant\n%s", what, text, expression)
	}
}

func (w *world) terminateAll() { w.t.Helper(); w.ok("terminate", "--all") }

func TestLaunch(t *testing.T) {
	w := newFakeWorld(t, "run")
	file := w.write("app.eif", []byte("image"))
	if err := os.Chmod(file, 0o751); err != nil {
		t.Fatal(err)
	}
	r := w.run("launch", "--name", "web", "--cpus", "8", "--memory", "2G", "--instance-type", "m5.2xlarge",
		"--file", "app.eif:"+w.guest("new/folder/x.eif"), "--file", "app.eif:"+w.guest("new")+"/")
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	wantLines(t, "launch", r.stdout, `i-[0-9a-f]{17}  m5.2xlarge, 8 CPUs, 2048 MiB
warm start: the agent answered after 0.52 s, the command took \d+\.\d\d s
Next: nitrolab shell web, nitrolab ps, nitrolab terminate web
`)
	wantLines(t, "progress", r.stderr, "nitrolab fake\n")
	for _, name := range []string{"new/folder/x.eif", "new/app.eif"} {
		if info, err := os.Stat(w.guest(name)); err != nil || info.Mode().Perm() != 0o751 || read(w.guest(name)) != "image" {
			t.Errorf("%s in the guest: %v, %v", name, info, err)
		}
	}
	if got := read(w.guest("allocator.log")); got != "ran\n" {
		t.Errorf("allocator: %q", got)
	}

	// A second one, of another shape, that leaves the allocator alone.
	r = w.run("launch", "--cold", "--no-allocator", "--json")
	var info launchInfo
	if err := json.Unmarshal([]byte(r.stdout), &info); err != nil || r.code != 0 {
		t.Fatalf("%v: %+v", err, r)
	}
	if info.Name != info.InstanceID || info.Warm || info.CPUs != 4 || info.MemoryMiB != 1024 || info.InstanceType != "m5.xlarge" || info.AnsweredSeconds != 0.52 || info.TotalSeconds <= 0 || len(info.Enclaves) != 1 {
		t.Errorf("launch --json: %s", r.stdout)
	}
	if got := read(w.guest("allocator.log")); got != "ran\n" {
		t.Errorf("--no-allocator: %q", got)
	}

	// The name is taken, which is not found out by half.
	r = w.run("launch", "--name", "web")
	r.stderr = strings.TrimPrefix(r.stderr, "nitrolab fake\n")
	r.wantError(t, 1, `instance name is "web", which another instance or enclave of yours has (nitrolab ps lists them); allowed is one that is free, or none`)

	w.terminateAll()
	w.wantNothing()
}

// An instance that has nothing to give to enclaves is one all the same.
func TestLaunchAllocatorFails(t *testing.T) {
	w := newFakeWorld(t, "run")
	w.allocator(`printf 'Error: E39\033[31m: too few\nCPUs\n' >&2; exit 1`)
	r := w.run("launch")
	if want := "nitrolab fake\nwarning: nothing is set aside for enclaves: nitro-enclaves-allocator: Error: E39: too few CPUs\n"; r.code != 0 || r.stderr != want {
		t.Errorf("%+v, want %q", r, want)
	}
	w.terminateAll()
}

// What goes wrong before launch returns leaves nothing.
func TestLaunchFails(t *testing.T) {
	t.Run("instance", func(t *testing.T) {
		w := newFakeWorld(t, "fail")
		if r := w.run("launch"); r.code != 1 || r.stdout != "" || r.stderr != "nitrolab fake\nnitrolab: the guest panicked\n" {
			t.Errorf("%+v", r)
		}
		w.wantNothing()
	})
	t.Run("file", func(t *testing.T) {
		w := newFakeWorld(t, "run")
		w.write("f", nil)
		if r := w.run("launch", "--file", "f:/proc/f"); r.code != 1 || r.stdout != "" || !strings.Contains(r.stderr, "nitrolab: put /proc/f into guest: ") {
			t.Errorf("%+v", r)
		}
		w.wantNothing()
	})
	t.Run("ends", func(t *testing.T) {
		w := newFakeWorld(t, "run")
		w.allocator("touch $HOME/die; sleep 60")
		if r := w.run("launch"); r.code != 1 || r.stdout != "" || r.stderr != "nitrolab fake\nnitrolab: the guest panicked\n" {
			t.Errorf("%+v", r)
		}
		w.wantNothing()
	})
}

// Enclaves of an instance stand below it; describe-enclaves does not know them.
func TestPS(t *testing.T) {
	w := newFakeWorld(t, "run")
	w.ok("launch", "--name", "web")
	w.ok("launch", "--cold")
	w.ok("run-enclave", "--eif-path", "app.eif", "--memory", "64", "--cpu-count", "1", "--debug-mode")
	wantLines(t, "ps", w.ok("ps"), `id +name +type +state +CPUs +memory +CID +mode +up
i-[0-9a-f]{17} +web +m5.xlarge +RUNNING +4 +1024 MiB +3 +warm +\d+s
  i-[0-9a-f]{17}-enc0{14}1 +enclave +RUNNING +2 +256 MiB +16 +debug
i-[0-9a-f]{17} +m5.xlarge +RUNNING +4 +1024 MiB +3 +cold +\d+s
  i-[0-9a-f]{17}-enc0{14}1 +enclave +RUNNING +2 +256 MiB +16 +debug
i-[0-9a-f]{17}-enc[0-9a-f]{15} +app +enclave +RUNNING +1 +64 MiB +16 +debug
`)
	var info psInfo
	if err := json.Unmarshal([]byte(w.ok("ps", "--json")), &info); err != nil {
		t.Fatal(err)
	}
	if len(info.Instances) != 2 || info.Instances[0].Name != "web" || len(info.Instances[0].Enclaves) != 1 || len(info.Enclaves) != 1 || !info.Enclaves[0].Debug {
		t.Errorf("ps --json: %+v", info)
	}
	inside := info.Instances[0].Enclaves[0].EnclaveID
	if list := w.list(); len(list) != 1 || list[0].EnclaveName != "app" {
		t.Errorf("describe-enclaves: %+v", list)
	}
	for _, args := range [][]string{{"terminate", inside}, {"shell", inside}, {"console", inside}} {
		w.run(args...).wantError(t, 1, fmt.Sprintf("enclave %s is one of instance %s; nitro-cli looks after it there: nitrolab shell %[2]s", inside, info.Instances[0].InstanceID))
	}
	if r := w.run("terminate-enclave", "--all"); r.code != 0 || strings.Count(r.stdout, "EnclaveID") != 1 {
		t.Errorf("terminate-enclave --all: %+v", r)
	}
	wantLines(t, "terminate --all", w.ok("terminate", "--all"), `(terminated instance i-[0-9a-f]{17} with 1 enclave\n){2}`)
	w.wantNothing()
}

// All that is named ends, or nothing.
func TestTerminate(t *testing.T) {
	w := newFakeWorld(t, "run")
	var id string
	for _, name := range []string{"a", "b", "c"} {
		id, _, _ = strings.Cut(w.ok("launch", "--name", name), " ")
	}
	e := parseEnclave(t, w.ok("run-enclave", "--eif-path", "app.eif", "--memory", "64", "--cpu-count", "1"))
	r := w.run("terminate", "a", "nobody", "i-")
	r.wantError(t, 1, `"nobody" is no running instance or enclave`)
	if want := `"i-" is the beginning of 4 ids: instance i-`; !strings.Contains(r.stderr, want) {
		t.Errorf("standard error %q, want %q", r.stderr, want)
	}
	out := w.ok("terminate", "a", "app", "a", "--json")
	var ended []endInfo
	if err := json.Unmarshal([]byte(out), &ended); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	want := []endInfo{
		{ID: ended[0].ID, Name: "a", Instance: true, Enclaves: 1, Terminated: true},
		{ID: e.EnclaveID, Name: "app", Terminated: true},
	}
	if diff := cmp.Diff(want, ended); diff != "" {
		t.Errorf("ended (-want +got):\n%s", diff)
	}
	w.ok("terminate", id)
	wantLines(t, "ps", w.ok("ps"), `id .*\n.* b .*\n  .*\n`)
	w.terminateAll()
	w.wantNothing()
}

func TestConsoleOfInstance(t *testing.T) {
	w := newFakeWorld(t, "run")
	w.ok("launch", "--name", "web")
	w.ok("run-enclave", "--eif-path", "app.eif", "--memory", "64", "--cpu-count", "1")
	if r := w.run("console", "web", "--disconnect-timeout", "1"); r.code != 0 || r.stdout != "Linux version fake\n" {
		t.Errorf("%+v", r)
	}
	w.run("console", "app").wantError(t, 1, "the enclave does not run in debug mode, so it has no console")
	watch := w.start("", "console", "web")
	w.until("the console", patience, func() bool { return watch.stdout.String() != "" })
	w.terminateAll()
	if r := watch.wait(); r.code != 0 || r.stderr != "" {
		t.Errorf("console at the instance's end: %+v", r)
	}
}

func TestCopy(t *testing.T) {
	w := newFakeWorld(t, "run")
	w.ok("launch", "--name", "web")
	src := w.write("here it is", []byte("content"))
	if err := os.Chmod(src, 0o710); err != nil {
		t.Fatal(err)
	}
	quoted := w.guest("it's a folder")
	if err := os.Mkdir(quoted, 0o700); err != nil {
		t.Fatal(err)
	}
	wantFile := func(path string, mode os.FileMode) {
		t.Helper()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode || read(path) != "content" {
			t.Errorf("%s: mode %v, %v: %q", path, info, err, read(path))
		}
	}
	w.ok("cp", "here it is", "web:"+w.guest("a"))
	wantFile(w.guest("a"), 0o710)
	w.ok("cp", "here it is", "web:"+quoted)
	wantFile(quoted+"/here it is", 0o710)
	if r := w.start("content", "cp", "-", "web:"+w.guest("b")).wait(); r.code != 0 {
		t.Errorf("cp -: %+v", r)
	}
	wantFile(w.guest("b"), 0o644)
	w.ok("cp", "web:"+quoted+"/here it is", ".")
	wantFile(src, 0o710)
	w.ok("cp", "web:"+w.guest("b"), "c")
	wantFile(filepath.Join(w.work, "c"), 0o644)
	if out := w.ok("cp", "web:"+w.guest("b"), "-"); out != "content" {
		t.Errorf("cp to standard output: %q", out)
	}
	link := filepath.Join(w.work, "link")
	if err := os.Symlink("c", link); err != nil {
		t.Fatal(err)
	}
	w.ok("cp", "web:"+w.guest("a"), "link")
	wantFile(filepath.Join(w.work, "c"), 0o710)
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("a link in the place of a destination: %v, %v", info, err)
	}
	w.ok("cp", "web:"+w.guest("a"), "/dev/null")
	if info, err := os.Stat("/dev/null"); err != nil || info.Mode().IsRegular() {
		t.Fatalf("/dev/null: %v, %v", info, err)
	}

	for _, tt := range []struct {
		from, to string
		code     int
		want     string
	}{
		{"web:" + w.guest("none"), "x", 1, w.guest("none") + " in the guest: file does not exist"},
		{"web:" + quoted, "x", 1, quoted + " is a folder; nitrolab shell web -c 'tar c " + quoted + "' | tar x copies one"},
		{"web:" + w.guest("a"), "/no/such/folder/x", 1, "no such file or directory"},
		{"web:/proc/self/mem", "x", 1, "get /proc/self/mem from guest: "}, // which cannot be read at 0
		{"here it is", "web:/no/such/folder/x", 1, "put /no/such/folder/x into guest: "},
		{"here it is", "nobody:/x", 1, `"nobody" is no running instance or enclave`},
		{"-", "web:" + quoted, 2, quoted + " is a folder; standard input needs the name of a file"},
		{w.work, "web:/tmp/", 1, w.work + " is not a regular file"},
	} {
		t.Run(tt.from+" "+tt.to, func(t *testing.T) {
			w.run("cp", tt.from, tt.to).wantError(t, tt.code, tt.want)
		})
	}
	if left, _ := filepath.Glob(filepath.Join(w.work, ".nitrolab-*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	w.terminateAll()
}

// The shell of a new instance: everything ends with it, and meanwhile others find it.
func TestShellInNewInstance(t *testing.T) {
	tests := []struct {
		name, stdin string
		args        []string
		code        int
		stdout      string
		stderr      string
	}{
		{"script", "echo $((6*7))\nexit 5\n", nil, 5, "42\n", ""},
		{"command", "in\n", []string{"-c", "cat; echo err >&2; exit 3"}, 3, "in\n", "err\n"},
		{"signal", "", []string{"-c", "kill -KILL $$"}, 137, "", "nitrolab: the command in the guest was ended by signal KILL\n"},
		{"guest fails", "", []string{"-c", "touch $HOME/die; sleep 60"}, 1, "", "nitrolab: the guest panicked\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newFakeWorld(t, "run")
			r := w.start(tt.stdin, append([]string{"shell"}, tt.args...)...).wait()
			if diff := cmp.Diff(result{tt.code, tt.stdout, tt.stderr}, r, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if got := read(w.guest("allocator.log")); got != "ran\n" {
				t.Errorf("allocator: %q", got)
			}
			w.wantNothing()
		})
	}
	t.Run("guest leaves", func(t *testing.T) {
		w := newFakeWorld(t, "run")
		r := w.run("shell", "-c", "touch $HOME/leave; sleep 60")
		if r.code != 1 || !regexp.MustCompile(`^nitrolab: instance i-[0-9a-f]{17} ended before its shell: `).MatchString(r.stderr) {
			t.Errorf("%+v", r)
		}
		w.wantNothing()
	})
	t.Run("does not come up", func(t *testing.T) {
		w := newFakeWorld(t, "fail")
		w.run("shell", "-c", "true").wantError(t, 1, "nitrolab: the guest panicked\n")
		w.wantNothing()
	})
	t.Run("others find it", func(t *testing.T) {
		w := newFakeWorld(t, "run")
		shell := w.start("", "shell", "-c", "touch $HOME/here; sleep 60")
		w.until("the shell", patience, func() bool { _, err := os.Stat(w.guest("here")); return err == nil })
		var info psInfo
		if err := json.Unmarshal([]byte(w.ok("ps", "--json")), &info); err != nil || len(info.Instances) != 1 {
			t.Fatalf("%v: %+v", err, info)
		}
		if out := w.ok("shell", info.Instances[0].InstanceID[:8], "-c", "echo second"); out != "second\n" {
			t.Errorf("second shell: %q", out)
		}
		w.ok("terminate", info.Instances[0].InstanceID)
		if r := shell.wait(); r.code != 1 || !strings.Contains(r.stderr, "ended before its shell") {
			t.Errorf("%+v", r)
		}
		w.wantNothing()
	})
}

func TestShellIntoRunning(t *testing.T) {
	w := newFakeWorld(t, "run")
	w.ok("launch", "--name", "web")
	e := parseEnclave(t, w.ok("run-enclave", "--eif-path", "app.eif", "--memory", "64", "--cpu-count", "1"))
	for _, word := range []string{"web", "app", e.EnclaveID} {
		if out := w.ok("shell", word, "-c", "echo $HOME"); out != w.guest("")+"\n" {
			t.Errorf("shell %s: %q", word, out)
		}
	}
	if got := read(w.guest("allocator.log")); got != "ran\n" {
		t.Errorf("a shell runs the allocator again: %q", got)
	}
	if err := os.WriteFile(w.guest("no agent"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.run("shell", "app").wantError(t, 1, "enclave "+e.EnclaveID+" has no agent on vsock port 5122; nitrolab eif sample --shell makes an image with one")
	w.terminateAll()
}

// However the commands end before their instance runs, or during its shell, nothing is
// left.
func TestInstanceInterrupted(t *testing.T) {
	running := []string{"shell", "-c", "touch $HOME/here; sleep 60"}
	tests := []struct {
		name, plot string
		args       []string
		signal     syscall.Signal
		code       int
	}{
		{"launch, Ctrl-C", "slow", []string{"launch"}, syscall.SIGINT, 130},
		{"launch, kill -9", "slow", []string{"launch"}, syscall.SIGKILL, -1},
		{"shell starting, hang-up", "slow", []string{"shell"}, syscall.SIGHUP, 129},
		{"shell starting, kill -9", "slow", []string{"shell"}, syscall.SIGKILL, -1},
		{"shell, Ctrl-C", "run", running, syscall.SIGINT, 130},
		{"shell, kill", "run", running, syscall.SIGTERM, 143},
		{"shell, kill -9", "run", running, syscall.SIGKILL, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newFakeWorld(t, tt.plot)
			r := w.start("", tt.args...)
			w.until("the guest's start", patience, func() bool {
				if tt.plot == "run" {
					_, err := os.Stat(w.guest("here"))
					return err == nil
				}
				dirs, err := filepath.Glob(filepath.Join(w.home, "run", "nitrolab", "*.state"))
				return err == nil && len(dirs) == 1
			})
			r.signal(tt.signal)
			began := time.Now()
			got := r.wait()
			if got.code != tt.code || tt.code > 0 && !strings.HasSuffix(got.stderr, "nitrolab: interrupted\n") {
				t.Errorf("%+v, want code %d", got, tt.code)
			}
			if took := time.Since(began); took > patience/2 {
				t.Errorf("the end took %v", took)
			}
			w.wantNothing()
		})
	}
}
