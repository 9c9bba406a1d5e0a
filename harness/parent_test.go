package harness_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/ask"
	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/harness"
)

// askParent gets a document over nonce from the sample application, through the
// kernel of the parent.
func askParent(t *testing.T, host *harness.Host, e *harness.ParentEnclave, nonce []byte) []byte {
	t.Helper()
	deadline := time.Now().Add(host.Timeout(20 * time.Second))
	for {
		c := e.Dial(t, ports.Attest)
		_ = c.SetDeadline(deadline)
		document, err := ask.Ask(c, nonce)
		c.Close()
		if err == nil {
			return document
		}
		// The heartbeat comes before the application listens.
		if time.Now().After(deadline) {
			t.Fatalf("ask %s: %v", e.EnclaveID, err)
		}
	}
}

// What nitro-cli in the instance says of its enclaves.
func describeEnclaves(t *testing.T, parent *harness.Instance) []harness.ParentEnclave {
	t.Helper()
	var list []harness.ParentEnclave
	out := parent.Exec(t, "nitro-cli describe-enclaves")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("describe-enclaves prints %q: %v", out, err)
	}
	return list
}

// The whole way: nitro-cli in a parent instance, the stock nitro_enclaves driver,
// the device, an enclave; it attests, and its document is about this instance.
func TestParentStartsEnclave(t *testing.T) {
	vm(t, 2)
	host := harness.New(t)
	parent := host.Launch(t)
	parent.Allocate(t, 512, 2)
	began := time.Now()
	enclave := parent.RunEnclave(t, harness.GuestSampleEIF, 256, 2)
	t.Logf("nitro-cli run-enclave took %v", time.Since(began))

	t.Run("description", func(t *testing.T) {
		want, _, ok := strings.Cut(enclave.EnclaveID, "-enc")
		if !ok || want != parent.ID() || enclave.EnclaveCID < 4 || enclave.NumberOfCPUs != 2 || enclave.MemoryMiB != 256 || fmt.Sprint(enclave.CPUIDs) != "[2 3]" {
			t.Errorf("run-enclave says %+v", enclave)
		}
		list := describeEnclaves(t, parent)
		if len(list) != 1 || list[0].EnclaveID != enclave.EnclaveID {
			t.Errorf("describe-enclaves says %+v", list)
		}
		machine := enclave.Enclave(t)
		if info := machine.Info(); info.EnclaveID != enclave.EnclaveID || info.MemoryMiB != 256 || info.NumberOfCPUs != 2 {
			t.Errorf("the Host says %+v", info)
		}
		if len(host.Enclaves()) != 0 {
			t.Error("an instance's enclave is listed among the Host's own")
		}
		if online := strings.TrimSpace(parent.Exec(t, "cat /sys/devices/system/cpu/online")); online != "0-1,4-5" {
			t.Errorf("the parent has CPUs %s, want those that it did not give away", online)
		}
	})

	t.Run("attests", func(t *testing.T) {
		nonce := []byte("nonce through the parent")
		m := enclave.Enclave(t).Measurements()
		policy := harness.Policy(m, nonce)
		policy.PCRs[4] = extended(parent.ID())
		doc := host.MustVerify(t, askParent(t, host, enclave, nonce), policy)
		if !strings.HasPrefix(doc.ModuleID, parent.ID()+"-enc") {
			t.Errorf("module id %s, want one of %s", doc.ModuleID, parent.ID())
		}
		// What the parent measures of the file is what the document says.
		var described struct{ Measurements map[string]string }
		out := parent.Exec(t, "nitro-cli describe-eif --eif-path "+harness.GuestSampleEIF)
		if err := json.Unmarshal([]byte(out), &described); err != nil {
			t.Fatalf("describe-eif prints %q: %v", out, err)
		}
		for i, name := range []string{"PCR0", "PCR1", "PCR2"} {
			if got := fmt.Sprintf("%x", doc.PCRs[uint(i)]); got != described.Measurements[name] {
				t.Errorf("%s is %s in the document, and %s in describe-eif", name, got, described.Measurements[name])
			}
		}
	})

	t.Run("terminates", func(t *testing.T) {
		machine := enclave.Enclave(t)
		out := parent.Exec(t, "nitro-cli terminate-enclave --enclave-id "+enclave.EnclaveID)
		if !strings.Contains(out, `"Terminated": true`) {
			t.Errorf("terminate-enclave prints %s", out)
		}
		awaitEnd(t, host, machine)
		if list := describeEnclaves(t, parent); len(list) != 0 {
			t.Errorf("describe-enclaves still says %+v", list)
		}
		// Its memory and CPUs are there for the next one.
		next := parent.RunEnclave(t, harness.GuestSampleEIF, 512, 2)
		parent.Exec(t, "nitro-cli terminate-enclave --all")
		if next.EnclaveID == enclave.EnclaveID {
			t.Error("two enclaves have one id")
		}
	})
}

// awaitEnd waits until an enclave is gone.
func awaitEnd(t *testing.T, host *harness.Host, e *emulator.Enclave) {
	t.Helper()
	select {
	case <-e.Done():
	case <-time.After(host.Timeout(20 * time.Second)):
		t.Fatalf("%s does not end", e.ID())
	}
}

// An enclave that crashes reaches the parent: nitro-cli's process for it sees
// POLLHUP and ends. The console is there in debug mode, from the hypervisor's port.
func TestParentSeesCrash(t *testing.T) {
	vm(t, 2)
	host := harness.New(t)
	parent := host.Launch(t)
	parent.Allocate(t, 256, 2)
	enclave := parent.RunEnclave(t, harness.GuestAgentEIF, 256, 2, "--debug-mode")
	machine := enclave.Enclave(t)

	console := parent.Exec(t, "nitro-cli console --enclave-id "+enclave.EnclaveID+" --disconnect-timeout 2 || true")
	if !strings.Contains(console, "Linux version") {
		t.Errorf("console shows\n%s", console)
	}
	go func() {
		// The connection dies with the enclave.
		_, _ = parent.TryExec(t, fmt.Sprintf("(sleep 1; echo) | vsock connect %d %d", enclave.EnclaveCID, ports.Agent))
	}()
	agent := enclave.Agent(t)
	p, err := agent.Start("echo c > /proc/sysrq-trigger")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	awaitEnd(t, host, machine)
	if machine.Ended() != emulator.EndPanic {
		t.Errorf("the enclave ended by %q, want a panic", machine.Ended())
	}
	deadline := time.Now().Add(host.Timeout(10 * time.Second))
	for len(describeEnclaves(t, parent)) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("describe-enclaves still shows an enclave that crashed")
		}
	}
	if _, err := parent.TryExec(t, fmt.Sprintf("kill -0 %d", enclave.ProcessID)); err == nil {
		t.Error("the process that looked after the enclave is still there")
	}
	// The parent's driver is fine, and the next one starts.
	parent.RunEnclave(t, harness.GuestSampleEIF, 256, 2)
}

// When an instance ends, so do its enclaves.
func TestParentEnds(t *testing.T) {
	vm(t, 2)
	host := harness.New(t)
	parent := host.Launch(t)
	parent.Allocate(t, 256, 2)
	machine := parent.RunEnclave(t, harness.GuestSampleEIF, 256, 2).Enclave(t)
	_, _ = parent.TryExec(t, "reboot -f")
	awaitEnd(t, host, machine)
	select {
	case <-parent.Done():
	case <-time.After(host.Timeout(20 * time.Second)):
		t.Fatal("the instance does not end")
	}
	if len(parent.Enclaves()) > 0 || len(host.Instances()) > 0 {
		t.Errorf("left are %v and %v", parent.Enclaves(), host.Instances())
	}
}

// vsockOf is who may reach what, from inside.
func TestParentVsock(t *testing.T) {
	vm(t, 2)
	host := harness.New(t)
	parent := host.Launch(t)
	parent.Allocate(t, 256, 2)
	enclave := parent.RunEnclave(t, harness.GuestAgentEIF, 256, 2)
	agent := enclave.Agent(t)
	output := func(command string) (string, error) {
		out, err := agent.Output(t.Context(), command)
		return strings.TrimSpace(string(out)), err
	}

	for _, cid := range []uint32{vsock.CIDParent, vsock.CIDHost} {
		t.Run(fmt.Sprintf("enclave reaches its parent as CID %d", cid), func(t *testing.T) {
			const bytes = 4 << 20
			p := parent.Pipe(t, "vsock listen 7200 </dev/null | sha256sum")
			sum, err := output(fmt.Sprintf("head -c %d /dev/urandom > /tmp/x && sha256sum < /tmp/x && "+
				"n=0; until vsock connect %d 7200 < /tmp/x 2>/dev/null; do n=$((n+1)); [ $n -lt 50 ] || exit 9; sleep 0.1; done", bytes, cid))
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 64)
			_ = p.SetDeadline(time.Now().Add(host.Timeout(10 * time.Second)))
			if _, err := p.Read(got); err != nil || string(got) != strings.Fields(sum)[0] {
				t.Errorf("the parent got %s, %v; want %s", got, err, sum)
			}
		})
	}

	t.Run("enclave cannot reach the agent of its parent", func(t *testing.T) {
		for _, cid := range []uint32{vsock.CIDParent, vsock.CIDHost} {
			// The agent greets whoever it takes: "SSH-2.0-".
			out, err := output(fmt.Sprintf("vsock connect %d %d </dev/null", cid, ports.Agent))
			if err == nil && out != "" {
				t.Errorf("CID %d: the agent says %q", cid, out)
			}
		}
	})

	t.Run("enclave finds nobody else", func(t *testing.T) {
		for _, cid := range []uint32{0, 4, 17, 1 << 20} {
			if _, err := output(fmt.Sprintf("vsock connect %d 22 </dev/null", cid)); !refusedInGuest(err) {
				t.Errorf("CID %d: %v, want a reset", cid, err)
			}
		}
	})
}
