package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/ask"
)

// enclave is what commands print about one.
type enclave struct {
	EnclaveName  string
	EnclaveID    string
	ProcessID    int
	EnclaveCID   uint32
	NumberOfCPUs int
	CPUIDs       []int
	MemoryMiB    int
	State, Flags string
	Terminated   bool
}

func parseEnclave(t *testing.T, text string) enclave {
	t.Helper()
	var e enclave
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return e
}

func (w *world) list() []enclave {
	w.t.Helper()
	var list []enclave
	if err := json.Unmarshal([]byte(w.ok("describe-enclaves")), &list); err != nil {
		w.t.Fatal(err)
	}
	return list
}

// Keys of nitro-cli's output in their order (src/common/json_output.rs).
var (
	runKeys      = []string{"EnclaveName", "EnclaveID", "ProcessID", "EnclaveCID", "NumberOfCPUs", "CPUIDs", "MemoryMiB"}
	describeKeys = append(runKeys[:len(runKeys):len(runKeys)], "State", "Flags", "Measurements")
	metadataKeys = append(describeKeys[:len(describeKeys):len(describeKeys)], "ImageName", "ImageVersion", "Metadata")
	endKeys      = []string{"EnclaveName", "EnclaveID", "Terminated"}
)

// wantKeys fails unless an object of nitro-cli's form has exactly these keys: one
// on a line, indented by two (four in an array).
func wantKeys(t *testing.T, text, indent string, want []string) {
	t.Helper()
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^`+indent+`"(\w+)": `).FindAllStringSubmatch(text, -1) {
		got = append(got, m[1])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s%s", diff, text)
	}
}

// The life of two enclaves of one user, a production one with forwards and a
// debug one with a shell, as far as a user sees it.
func TestTwoEnclaves(t *testing.T) {
	vm(t)
	w := newWorld(t)
	const role = "arn:aws:iam::123456789012:role/app"
	first := w.start("", "run-enclave", "--eif-path", w.image("app.eif"), "--memory", "256M", "--cpu-ids", "1", "3", "--role", role,
		"--forward", "tcp:127.0.0.1:0=vsock:5005", "--forward", "unix:app.sock=vsock:5005", "--forward", "tcp:127.0.0.1:0=vsock:77")
	parent := parentEcho(t, filepath.Join(w.home, "parent.sock"))
	config := w.write("config.json", fmt.Appendf(nil, `{"eif_path": %q, "memory_mib": 256, "cpu_count": 1, "debug_mode": true, "enclave_name": "debug"}`, w.image("shell.eif")))
	second := w.start("", "run-enclave", "--config", config, "--forward", "vsock:7000=unix:"+parent, "--forward", "vsock:7001=tcp:127.0.0.1:1")
	a, b := first.wait(), second.wait()
	if a.code != 0 || b.code != 0 {
		t.Fatalf("%+v\n%+v", a, b)
	}
	production, debug := parseEnclave(t, a.stdout), parseEnclave(t, b.stdout)

	t.Run("run-enclave", func(t *testing.T) {
		wantKeys(t, a.stdout, "  ", runKeys)
		if production.EnclaveName != "app" || production.NumberOfCPUs != 2 || !cmp.Equal(production.CPUIDs, []int{1, 3}) || production.MemoryMiB != 256 {
			t.Errorf("production enclave: %s", a.stdout)
		}
		if debug.EnclaveName != "debug" || debug.NumberOfCPUs != 1 || !cmp.Equal(debug.CPUIDs, []int{0}) {
			t.Errorf("debug enclave: %s", b.stdout)
		}
		// Started at the same time, with the same image name and no CID asked for.
		if production.EnclaveCID+debug.EnclaveCID != 16+17 || production.EnclaveID == debug.EnclaveID {
			t.Errorf("CIDs %d and %d, ids %s and %s", production.EnclaveCID, debug.EnclaveCID, production.EnclaveID, debug.EnclaveID)
		}
		if !regexp.MustCompile(`^i-[0-9a-f]{17}-enc[0-9a-f]{15}$`).MatchString(production.EnclaveID) {
			t.Errorf("enclave id %s", production.EnclaveID)
		}
		for _, want := range []string{"nitrolab " + version + " · ", "machine chosen: form ", "heartbeat: after "} {
			if !strings.Contains(a.stderr, want) {
				t.Errorf("no %q in the progress:\n%s", want, a.stderr)
			}
		}
	})
	t.Run("describe-enclaves", func(t *testing.T) { describeTwo(t, w, production, debug) })
	forwards := regexp.MustCompile(`(?m)^forwarding (\w+):(\S.*)=vsock:(\d+)$`).FindAllStringSubmatch(a.stderr, -1)
	if len(forwards) != 3 {
		t.Fatalf("forwards %q in:\n%s", forwards, a.stderr)
	}
	t.Run("attestation", func(t *testing.T) { attestForwarded(t, w, production, forwards, role) })
	t.Run("taken CID", func(t *testing.T) {
		r := w.run("run-enclave", "--eif-path", w.image("app.eif"), "--memory", "256", "--cpu-count", "1", "--enclave-cid", fmt.Sprint(debug.EnclaveCID))
		want := fmt.Sprintf("enclave CID is %d, which another enclave of yours has", debug.EnclaveCID)
		if r.code != 1 || !strings.Contains(r.stderr, want) || r.stdout != "" {
			t.Errorf("%+v, want %q", r, want)
		}
	})
	t.Run("console", func(t *testing.T) {
		r := w.run("console", "--enclave-id", production.EnclaveID)
		r.wantError(t, 1, "nitrolab: the enclave does not run in debug mode, so it has no console\n")
		r = w.run("console", "--enclave-name", "debug", "--disconnect-timeout", "1")
		if r.code != 0 || !strings.Contains(r.stdout, "Linux version ") {
			t.Errorf("console of a debug enclave: %+v", r)
		}
	})
	t.Run("shell", func(t *testing.T) { shellInDebug(t, w, debug.EnclaveID) })
	t.Run("no agent", func(t *testing.T) {
		r := w.run("shell", production.EnclaveID, "-c", "true")
		r.wantError(t, 1, "enclave "+production.EnclaveID+" has no agent on vsock port 5122; nitrolab eif sample --shell makes an image with one")
	})
	t.Run("refused forward", func(t *testing.T) { refuseForwarded(t, forwards) })

	// The console of one that is watched ends with it.
	watch := w.start("", "console", "--enclave-name", "debug")
	w.until("the console's first line", patience, func() bool { return strings.Contains(watch.stdout.String(), "Linux version ") })
	for what, target := range map[string][]string{production.EnclaveID: {"--enclave-id", production.EnclaveID}, debug.EnclaveID: {"--enclave-name", "debug"}} {
		out := w.ok(append([]string{"terminate-enclave"}, target...)...)
		wantKeys(t, out, "  ", endKeys)
		if e := parseEnclave(t, out); !e.Terminated || e.EnclaveID != what {
			t.Errorf("terminated: %s", out)
		}
	}
	if r := watch.wait(); r.code != 0 || r.stderr != "" {
		t.Errorf("console at the enclave's end: %+v", r)
	}
	if list := w.list(); len(list) > 0 {
		t.Errorf("left: %+v", list)
	}
	if _, err := os.Lstat(filepath.Join(w.work, "app.sock")); err == nil {
		t.Error("the socket of a forward is left")
	}
	w.wantNothing()
	if left, _ := filepath.Glob(filepath.Join(w.work, "nitrolab-artifacts")); len(left) > 0 {
		t.Error("artifacts of enclaves that did not fail")
	}
}

func describeTwo(t *testing.T, w *world, production, debug enclave) {
	list := w.list()
	if len(list) != 2 {
		t.Fatalf("%d enclaves: %+v", len(list), list)
	}
	flags := map[string]string{production.EnclaveID: "NONE", debug.EnclaveID: "DEBUG_MODE"}
	for _, e := range list {
		if e.State != "RUNNING" || e.Flags != flags[e.EnclaveID] {
			t.Errorf("enclave %+v", e)
		}
	}
	if list[0].EnclaveID > list[1].EnclaveID {
		t.Error("not in the order of their start")
	}
	wantKeys(t, w.ok("describe-enclaves"), "    ", append(describeKeys[:len(describeKeys):len(describeKeys)], describeKeys...))
	with := w.ok("describe-enclaves", "--metadata")
	wantKeys(t, with, "    ", append(metadataKeys[:len(metadataKeys):len(metadataKeys)], metadataKeys...))
	if !strings.Contains(with, `"KernelVersion": "`) {
		t.Errorf("no metadata of the build:\n%s", with)
	}
	var measured struct{ Measurements json.RawMessage }
	if err := json.Unmarshal([]byte(w.ok("eif", "measure", "--eif-path", w.image("app.eif"))), &measured); err != nil {
		t.Fatal(err)
	}
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
	if !strings.Contains(squeeze(with), squeeze(string(measured.Measurements))) {
		t.Errorf("the measurements are not those of the image:\n%s", with)
	}
}

// attestForwarded gets a document through forwards and verifies it as its user
// would, with what commands print.
func attestForwarded(t *testing.T, w *world, e enclave, forwards [][]string, role string) {
	nonce := []byte("nonce of the test")
	doc := askOver(t, forwards[0][1], forwards[0][2], nonce)
	if path := filepath.Join(w.work, "app.sock"); forwards[1][2] != path {
		t.Errorf("unix socket %s, want %s", forwards[1][2], path)
	}
	if info, err := os.Stat(forwards[1][2]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the socket: %v, %v", info.Mode(), err)
	}
	askOver(t, forwards[1][1], forwards[1][2], nonce)

	file := w.write("doc.cbor", doc)
	root := w.write("root.pem", []byte(w.ok("root-certificate")))
	roleOf, instance := nsm.RolePCR(role), nsm.InstancePCR(e.EnclaveID[:19])
	args := []string{
		"verify", file, "--root", root, "--eif-path", w.image("app.eif"),
		"--pcr", fmt.Sprintf("3=%x", roleOf), "--pcr", fmt.Sprintf("4=%x", instance), "--max-age", "5m",
	}
	r := w.run(append(args, "--nonce", fmt.Sprintf("%x", nonce))...)
	if r.code != 0 || !strings.HasSuffix(r.stdout, "\naccepted\n") {
		t.Errorf("verify: %+v", r)
	}
	for _, check := range []string{"PCR0", "PCR1", "PCR2", "PCR3", "PCR4", "nonce", "chain", "freshness"} {
		if !regexp.MustCompile(`(?m)^` + check + ` +ok `).MatchString(r.stdout) {
			t.Errorf("%s is not ok:\n%s", check, r.stdout)
		}
	}
	r = w.run(append(args, "--nonce", "00")...)
	if r.code != 1 || !regexp.MustCompile(`(?m)^nonce +FAIL `).MatchString(r.stdout) || !strings.Contains(r.stdout, "refused: 1 of ") {
		t.Errorf("verify with another nonce: %+v", r)
	}
	// Without --root it is this machine's Host.
	if r := w.run("verify", file, "--eif-path", w.image("app.eif")); r.code != 0 {
		t.Errorf("verify without a root: %+v", r)
	}
}

// refuseForwarded uses the forward to a port on which nobody listens. It is
// refused, and the enclave lives: once, what the supervisor had to say about it
// was its end.
func refuseForwarded(t *testing.T, forwards [][]string) {
	// The reset may come as early as the connection.
	if c, err := net.Dial(forwards[2][1], forwards[2][2]); err == nil {
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(boot)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes from a port on which nobody listens", n)
		}
	}
	askOver(t, forwards[0][1], forwards[0][2], []byte("again"))
}

// askOver asks the sample application. The forward waits until it listens.
func askOver(t *testing.T, network, address string, nonce []byte) []byte {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(boot)); err != nil {
		t.Fatal(err)
	}
	doc, err := ask.Ask(c, nonce)
	if err != nil {
		t.Fatalf("over %s %s: %v", network, address, err)
	}
	return doc
}

// parentEcho is a program of the parent's: it greets, and answers with what it
// gets. It returns its socket's path.
func parentEcho(t *testing.T, path string) string {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line := make([]byte, 100)
			n, _ := c.Read(line)
			fmt.Fprintf(c, "parent got %s", line[:n])
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return path
}

// shellInDebug uses the agent of a running enclave.
func shellInDebug(t *testing.T, w *world, id string) {
	tests := []struct {
		name, stdin string
		args        []string
		code        int
		stdout      string // an expression
		stderr      string // likewise
	}{
		{"command", "", []string{"-c", "echo out; echo err >&2; exit 42"}, 42, `^out\n$`, `^err\n$`},
		{"script", "x=7; echo $((6*x))\nexit 5\n", nil, 5, `^42\n$`, `^$`},
		{"input of a command", "hello\n", []string{"-c", "cat"}, 0, `^hello\n$`, `^$`},
		{"signal", "", []string{"-c", "kill -KILL $$"}, 137, `^$`, `ended by signal KILL`},
		{"debug mode", "", []string{"-c", "nsm pcr 0"}, 0, `0{96}`, `^$`},
		{"to the parent", "hello\n", []string{"-c", "vsock connect 3 7000"}, 0, `^parent got hello\n$`, `^$`},
		{"to a port of the parent without a listener", "", []string{"-c", "vsock connect 3 7002"}, 1, `^$`, `reset|refused`},
		// The forward takes the connection before it finds nobody behind it. A
		// guest's kernel does not always tell a reset from an end.
		{"to nobody behind the parent", "", []string{"-c", "vsock connect 3 7001 || true"}, 0, `^$`, ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := w.start(tt.stdin, append([]string{"shell", id}, tt.args...)...).wait()
			if r.code != tt.code || !regexp.MustCompile(tt.stdout).MatchString(r.stdout) || !regexp.MustCompile(tt.stderr).MatchString(r.stderr) {
				t.Errorf("%+v, want exit code %d, %s, %s", r, tt.code, tt.stdout, tt.stderr)
			}
		})
	}
}

// --attach-console shows the console of an enclave that --all ends.
func TestAttachConsole(t *testing.T) {
	vm(t)
	w := newWorld(t)
	attached := w.start("", "run-enclave", "--eif-path", w.image("app.eif"), "--memory", "256", "--cpu-count", "1", "--attach-console", "--enclave-name", "x", "--enclave-cid", "4")
	w.until("the console", boot, func() bool {
		select {
		case <-attached.done:
			t.Fatalf("%+v", attached.wait())
		default:
		}
		return strings.Contains(attached.stdout.String(), "attest: listening on vsock port")
	})
	out := w.ok("terminate-enclave", "--all")
	wantKeys(t, out, "    ", endKeys)
	var ended []enclave
	if err := json.Unmarshal([]byte(out), &ended); err != nil || len(ended) != 1 || !ended[0].Terminated || ended[0].EnclaveName != "x" {
		t.Errorf("terminate-enclave --all: %v\n%s", err, out)
	}
	r := attached.wait()
	info, console, _ := strings.Cut(r.stdout, "\n}\n")
	if e := parseEnclave(t, info+"}"); r.code != 0 || e.EnclaveCID != 4 || !strings.Contains(console, "Linux version ") {
		t.Errorf("attached: %+v", r)
	}
}

// kill -9 of everything that looks after a running enclave leaves nothing, not
// even the socket of a forward in the user's folder.
func TestKillSupervisor(t *testing.T) {
	vm(t)
	w := newWorld(t)
	e := parseEnclave(t, w.ok("run-enclave", "--eif-path", w.image("app.eif"), "--memory", "256", "--cpu-count", "1", "--forward", "unix:app.sock=vsock:5005"))
	socket := filepath.Join(w.work, "app.sock")
	if _, err := os.Lstat(socket); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(e.ProcessID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.until("the end of the socket", patience, func() bool { _, err := os.Lstat(socket); return err != nil })
	w.wantNothing()
	if list := w.list(); len(list) > 0 {
		t.Errorf("listed: %+v", list)
	}
	if r := w.run("terminate-enclave", "--enclave-id", e.EnclaveID); r.code != 1 || !strings.Contains(r.stderr, "no running enclave has it") {
		t.Errorf("terminate-enclave: %+v", r)
	}
}

// The end of run-enclave, launch, demo and shell before the guest runs is the end of
// everything, however it comes.
func TestInterruptedBoot(t *testing.T) {
	run := []string{"run-enclave", "--eif-path", "app.eif", "--memory", "256", "--cpu-count", "1"}
	tests := []struct {
		name   string
		args   []string
		signal syscall.Signal
		code   int
	}{
		{"run-enclave, Ctrl-C", run, syscall.SIGINT, 130},
		{"run-enclave, kill", run, syscall.SIGTERM, 143},
		{"run-enclave, kill -9", run, syscall.SIGKILL, -1},
		{"demo, Ctrl-C", []string{"demo"}, syscall.SIGINT, 130},
		{"demo, kill -9", []string{"demo"}, syscall.SIGKILL, -1},
		{"shell --enclave, hang-up", []string{"shell", "--enclave"}, syscall.SIGHUP, 129},
		{"launch, Ctrl-C", []string{"launch", "--cold"}, syscall.SIGINT, 130},
		{"launch, kill -9", []string{"launch", "--cold"}, syscall.SIGKILL, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			vm(t)
			w := newWorld(t)
			w.image("app.eif")
			cmd := w.command(tt.args...)
			r := w.startCommand("", cmd)
			w.until("QEMU's start", boot, func() bool {
				select {
				case <-r.done:
					t.Fatalf("%+v", r.wait())
				default:
				}
				return w.qemu()
			})
			r.signal(tt.signal)
			got := r.wait()
			if got.code != tt.code {
				t.Errorf("exit code %d, want %d", got.code, tt.code)
			}
			if tt.code > 0 && !strings.HasSuffix(got.stderr, "nitrolab: interrupted\n") {
				t.Errorf("standard error %q", got.stderr)
			}
			if tt.args[0] != "demo" && got.stdout != "" {
				t.Errorf("standard output %q", got.stdout)
			}
			w.wantNothing()
			if _, err := os.Lstat(filepath.Join(w.work, "nitrolab-artifacts")); err == nil {
				t.Error("artifacts of a boot that was given up")
			}
			if list := w.list(); len(list) > 0 {
				t.Errorf("listed: %+v", list)
			}
		})
	}
}
