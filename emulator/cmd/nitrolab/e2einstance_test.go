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

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitrolab/nitrolab/devices/nsm"
)

func (w *world) ps() psInfo {
	w.t.Helper()
	var info psInfo
	if err := json.Unmarshal([]byte(w.ok("ps", "--json")), &info); err != nil {
		w.t.Fatal(err)
	}
	return info
}

// usesKMS makes a key in an instance's key service, as its launch says how.
func (w *world) usesKMS(launched string) {
	w.t.Helper()
	m := regexp.MustCompile(`(?m)^\. '(.*/kms\.env)' points clients here at its key service$`).FindStringSubmatch(launched)
	if m == nil {
		w.t.Fatalf("launch names no kms.env: %q", launched)
	}
	text, err := os.ReadFile(m[1])
	if err != nil {
		w.t.Fatal(err)
	}
	s := &served{env: exports(string(text))}
	if _, err := s.client(w.t).CreateKey(w.t.Context(), &awskms.CreateKeyInput{}); err != nil {
		w.t.Errorf("create a key: %v", err)
	}
}

// The life of an instance as far as a user sees it: an enclave is started in it by
// nitro-cli, and its document, fetched out of the instance, verifies.
func TestInstance(t *testing.T) {
	vm(t)
	w := newWorld(t)
	const role = "arn:aws:iam::123456789012:role/app"
	w.write("note", []byte("for the guest\n"))
	r := w.run("launch", "--name", "web", "--instance-type", "c6a.xlarge", "--role", role, "--file", "note:/srv/note", "--kms-listen", "127.0.0.1:0")
	if r.code != 0 || !strings.Contains(r.stdout, "c6a.xlarge, 4 CPUs, 1024 MiB\n") || strings.Contains(r.stderr, "warning") {
		t.Fatalf("launch: %+v", r)
	}
	id, _, _ := strings.Cut(r.stdout, " ")
	t.Logf("%s", r.stdout)

	w.usesKMS(r.stdout)
	const metadata = `t=$(printf 'PUT /latest/api/token HTTP/1.0\r\nHost: x\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n' | nc 169.254.169.254 80 | tail -n 1)
		wget -qO- --header "X-aws-ec2-metadata-token: $t" http://169.254.169.254/latest/meta-data/`
	if out := w.ok("shell", "web", "-c", metadata+"instance-id"); out != id {
		t.Errorf("the metadata service says %q", out)
	}
	if out := w.ok("shell", "web", "-c", metadata+"iam/security-credentials/"); out != "app" {
		t.Errorf("the metadata service names role %q", out)
	}
	if out := w.ok("shell", "web", "-c", "hostname; cat /srv/note; cat /sys/class/dmi/id/product_name"); out != id+"\nfor the guest\nc6a.xlarge\n" {
		t.Errorf("in the instance: %q", out)
	}
	run := w.run("shell", id[:6], "-c", "nitro-cli run-enclave --eif-path "+sampleInInstance+" --memory 256 --cpu-count 2")
	if run.code != 0 {
		t.Fatalf("nitro-cli run-enclave: %+v", run)
	}
	e := parseEnclave(t, run.stdout)

	info := w.ps()
	if len(info.Instances) != 1 || len(info.Enclaves) != 0 || len(info.Instances[0].Enclaves) != 1 {
		t.Fatalf("ps: %+v", info)
	}
	if got := info.Instances[0].Enclaves[0]; got.EnclaveID != e.EnclaveID || got.CID != e.EnclaveCID || got.MemoryMiB != 256 || got.CPUs != 2 || got.State != "RUNNING" {
		t.Errorf("enclave of the instance: %+v, want %+v", got, e)
	}
	if list := w.list(); len(list) > 0 {
		t.Errorf("describe-enclaves: %+v", list)
	}

	// The application listens a little after the heartbeat.
	ask := fmt.Sprintf(`for i in 1 2 3 4 5 6 7 8 9; do
		printf '\0\0\0\4test' | vsock connect %d 5005 2>/dev/null | tail -c +5 >/srv/doc
		[ -s /srv/doc ] && exit 0
		sleep 1
	done; exit 1`, e.EnclaveCID)
	if r := w.run("shell", "web", "-c", ask); r.code != 0 {
		t.Fatalf("ask the enclave: %+v", r)
	}
	w.ok("cp", "web:/srv/doc", "doc.cbor")
	w.ok("cp", "web:"+sampleInInstance, "sample.eif")
	rolePCR, instancePCR := nsm.RolePCR(role), nsm.InstancePCR(id)
	verify := []string{"verify", "doc.cbor", "--eif-path", "sample.eif", "--nonce", fmt.Sprintf("%x", "test"), "--pcr", fmt.Sprintf("3=%x", rolePCR), "--pcr"}
	if r := w.run(append(verify, fmt.Sprintf("4=%x", instancePCR))...); r.code != 0 || !strings.HasSuffix(r.stdout, "\naccepted\n") {
		t.Errorf("verify: %+v", r)
	}
	other := nsm.InstancePCR("i-00000000000000000")
	if r := w.run(append(verify, fmt.Sprintf("4=%x", other))...); r.code != 1 || !strings.Contains(r.stdout, "refused: 1 of ") {
		t.Errorf("verify for another instance: %+v", r)
	}

	watch := w.start("", "console", "web")
	w.until("the console", patience, func() bool { return strings.Contains(watch.stdout.String(), "nitro_enclaves") })
	if out := w.ok("terminate", "web"); out != "terminated instance "+id+" with 1 enclave\n" {
		t.Errorf("terminate: %q", out)
	}
	if r := watch.wait(); r.code != 0 {
		t.Errorf("console at the instance's end: %+v", r)
	}
	w.wantNothing()
}

// make shell: an enclave is started in it, and all ends with it.
func TestShellInInstance(t *testing.T) {
	vm(t)
	w := newWorld(t)
	script := "nitro-cli run-enclave --eif-path " + sampleInInstance + " --memory 256 --cpu-count 2 --debug-mode\n" +
		"nitro-cli describe-enclaves\nexit 3\n"
	r := w.start(script, "shell").wait()
	if r.code != 3 || !strings.Contains(r.stdout, `"State": "RUNNING"`) || !strings.Contains(r.stdout, `"Flags": "DEBUG_MODE"`) {
		t.Errorf("%+v", r)
	}
	w.wantNothing()
}

// kill -9 of what looks after an instance ends it with its enclaves.
func TestKillInstance(t *testing.T) {
	vm(t)
	w := newWorld(t)
	for _, who := range []string{"supervisor", "QEMU"} {
		if r := w.run("launch"); r.code != 0 {
			t.Fatalf("launch: %+v", r)
		}
		i := w.ps().Instances[0]
		if r := w.run("shell", i.InstanceID, "-c", "nitro-cli run-enclave --eif-path "+sampleInInstance+" --memory 256 --cpu-count 2"); r.code != 0 {
			t.Fatalf("nitro-cli run-enclave: %+v", r)
		}
		pid := i.ProcessID
		if who == "QEMU" {
			pid = i.QEMUProcessID
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		w.wantNothing()
		if info := w.ps(); len(info.Instances) > 0 {
			t.Errorf("%s killed, and ps has %+v", who, info)
		}
	}
	// Of the instance whose QEMU was killed, which was no wish of anybody's.
	if kept, err := filepath.Glob(filepath.Join(w.work, "nitrolab-artifacts", "i-*")); err != nil || len(kept) != 1 {
		t.Errorf("artifacts %q, %v", kept, err)
	}
}

// The shell of an instance that is killed takes the instance along.
func TestKillShell(t *testing.T) {
	vm(t)
	w := newWorld(t)
	r := w.start("", "shell", "-c", "echo ready; sleep 600")
	w.until("the shell", boot, func() bool {
		select {
		case <-r.done:
			t.Fatalf("%+v", r.wait())
		default:
		}
		return r.stdout.String() == "ready\n"
	})
	if !w.qemu() {
		t.Errorf("no QEMU among %q", w.processes())
	}
	r.signal(syscall.SIGKILL)
	r.wait()
	w.wantNothing()
}
