package harness_test

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/harness"
)

// donated is what guest/cmd/hostile finds in memory that was donated.
type donated struct {
	Bytes, NonZero int64
	Needle         bool
}

// The parent's root reads memory that its own process has donated, through the
// mapping that this process still has.
func TestParentReadsDonatedMemory(t *testing.T) {
	vm(t, 2)
	harness.Attack{
		Name:       "root of the parent reads the image in donated memory",
		Protection: weaken.ScrubDonated,
		Run: func(t testing.TB, w weaken.Set) error {
			host := harness.New(t, harness.Weaken(w))
			parent := host.Launch(t)
			parent.Allocate(t, 256, 2)
			enclave := parent.RunEnclave(t, harness.GuestSampleEIF, 256, 2)
			out := parent.Exec(t, fmt.Sprintf("hostile memory %d .eif", enclave.ProcessID))
			var d donated
			if err := json.Unmarshal([]byte(out), &d); err != nil {
				return fmt.Errorf("hostile prints %q: %w", out, err)
			}
			if d.Bytes != 256<<20 {
				return fmt.Errorf("%d bytes were read, want 256 MiB", d.Bytes)
			}
			if !d.Needle && d.NonZero == 0 {
				return fmt.Errorf("%w: all %d bytes are zero", harness.ErrStopped, d.Bytes)
			}
			if !d.Needle {
				return fmt.Errorf("%d bytes are not zero, but none of the image", d.NonZero)
			}
			return nil
		},
	}.CounterProof(t)
}

// What an enclave had in its memory is nowhere in that of its parent: not in the
// pages it donated while the enclave runs, and not when it gets them back.
func TestParentReadsReturnedMemory(t *testing.T) {
	vm(t, 2)
	harness.Attack{
		Name:       "root of the parent reads what an enclave left in its memory",
		Protection: weaken.ScrubOnFree,
		Run: func(t testing.TB, w weaken.Set) error {
			host := harness.New(t, harness.Weaken(w))
			parent := host.Launch(t)
			parent.Allocate(t, 256, 2)
			needle := hex.EncodeToString(noise(7, 16))
			attacker := startAttacker(t, parent, 256, needle)
			// The needle reaches the enclave without being in the parent's memory: SSH
			// is encrypted from the test to the enclave.
			enclave := attacker.enclave
			if got := enclave.Exec(t, fmt.Sprintf("for i in 1 2 3 4 5 6 7 8; do echo %s; done > /tmp/secret; sort -u /tmp/secret", needle)); got != needle+"\n" {
				return fmt.Errorf("the enclave keeps %q", got)
			}
			running, freed, err := attacker.end()
			switch {
			case err != nil:
				return err
			case running.Needle || running.NonZero > 0:
				return fmt.Errorf("the parent reads the memory of a running enclave: %+v", running)
			case freed.Needle:
				return nil
			case freed.NonZero > 0 || freed.Bytes != 256<<20:
				return fmt.Errorf("returned memory is %+v", freed)
			}
			return fmt.Errorf("%w: returned memory is all zero", harness.ErrStopped)
		},
	}.CounterProof(t)
}

// An attacker is a process in a parent that keeps its mapping of donated memory.
type attacker struct {
	process io.ReadWriteCloser
	out     *bufio.Reader
	enclave *harness.ParentEnclave
}

func startAttacker(t testing.TB, parent *harness.Instance, mib int, needle string) *attacker {
	t.Helper()
	p, err := parent.Agent(t).Start(fmt.Sprintf("exec hostile donate %s %d 2 %s", harness.GuestAgentEIF, mib, needle))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	a := &attacker{process: p, out: bufio.NewReader(p)}
	line, err := a.out.ReadString('\n')
	if err != nil {
		t.Fatalf("hostile ended with %q: %v", line, err)
	}
	var started struct{ CID uint32 }
	if err := json.Unmarshal([]byte(line), &started); err != nil {
		t.Fatalf("hostile prints %q: %v", line, err)
	}
	a.enclave = parent.Enclave(started.CID)
	return a
}

// end makes the attacker end its enclave and tell what it saw.
func (a *attacker) end() (running, freed donated, err error) {
	if err := a.process.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return running, freed, err
	}
	text, err := io.ReadAll(a.out)
	if err != nil {
		return running, freed, err
	}
	var w struct{ Running, Freed donated }
	if err := json.Unmarshal(text, &w); err != nil {
		return running, freed, fmt.Errorf("hostile prints %q: %w", text, err)
	}
	return w.Running, w.Freed, nil
}

// readPort connects to a vsock port from inside a guest, in which run runs commands
// and feed is what is sent. It returns nil if want can be read there, and an error
// that wraps harness.ErrStopped if the connection is refused.
func readPort(run func(command string) (string, error), feed string, cid, port uint32, want string) error {
	out, err := run(fmt.Sprintf("%s | vsock connect %d %d | head -c 4096", feed, cid, port))
	switch {
	case strings.Contains(out, want):
		return nil
	case out == "": // the exit status is that of head
		if _, err = run(fmt.Sprintf("vsock connect %d %d </dev/null", cid, port)); refusedInGuest(err) {
			return fmt.Errorf("%w: %w", harness.ErrStopped, err)
		}
	}
	return fmt.Errorf("read %q: %w", out, err)
}

// An enclave in production mode has no console, however its parent asks.
func TestParentReadsProductionConsole(t *testing.T) {
	vm(t, 2)
	harness.Attack{
		Name:       "parent reads the console of a production enclave",
		Protection: weaken.ProductionConsole,
		Run: func(t testing.TB, w weaken.Set) error {
			host := harness.New(t, harness.Weaken(w))
			parent := host.Launch(t)
			parent.Allocate(t, 256, 2)
			enclave := parent.RunEnclave(t, harness.GuestSampleEIF, 256, 2)
			// nitro-cli does not even ask.
			if _, err := parent.TryExec(t, "nitro-cli console --enclave-id "+enclave.EnclaveID); !strings.Contains(harness.ExitText(err), "[ E44 ]") {
				return fmt.Errorf("nitro-cli console: %w, want E44", err)
			}
			run := func(command string) (string, error) { return parent.TryExec(t, command) }
			return readPort(run, "sleep 2", vsock.CIDHypervisor, vsock.ConsolePort(enclave.EnclaveCID), "Linux version")
		},
	}.CounterProof(t)
}

// Two enclaves of one parent: both talk to it, and not to each other.
func TestEnclavesOfOneParent(t *testing.T) {
	vm(t, 2)
	harness.Attack{
		Name:       "enclave connects to another enclave of its parent",
		Protection: weaken.EnclaveIsolation,
		Run: func(t testing.TB, w weaken.Set) error {
			host := harness.New(t, harness.Weaken(w))
			parent := host.Launch(t)
			parent.Allocate(t, 512, 4)
			a := parent.RunEnclave(t, harness.GuestAgentEIF, 256, 2)
			b := parent.RunEnclave(t, harness.GuestAgentEIF, 256, 2)
			for _, e := range []*harness.ParentEnclave{a, b} {
				if got := e.Exec(t, "echo hello"); got != "hello\n" {
					t.Fatalf("%s answers its parent with %q", e.EnclaveID, got)
				}
			}
			agent := a.Agent(t)
			run := func(command string) (string, error) {
				out, err := agent.Output(t.Context(), command)
				return string(out), err
			}
			return readPort(run, ":", b.EnclaveCID, ports.Agent, "SSH-2.0-")
		},
	}.CounterProof(t)
}

// A parent that writes at random to every register of the device and to its
// configuration space harms nobody else on the Host.
func TestHostileRegisters(t *testing.T) {
	vm(t, 3)
	host := harness.New(t)
	hostile, neighbour := host.Launch(t), host.Launch(t)
	neighbour.Allocate(t, 256, 2)
	enclave := neighbour.RunEnclave(t, harness.GuestSampleEIF, 256, 2)
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	agent := hostile.Agent(t)
	go func() {
		out, err := agent.Output(t.Context(), fmt.Sprintf("hostile registers %g %d", hostileSeconds, seed))
		done <- result{string(out), err}
	}()
	nonces := 0
	for {
		select {
		case r := <-done:
			t.Logf("%d documents meanwhile; the attack: %s %v", nonces, strings.TrimSpace(r.out), r.err)
			var a struct{ Writes, Reads int64 }
			if err := json.Unmarshal([]byte(r.out), &a); err != nil || a.Writes < 10000 || a.Reads < 100 {
				t.Errorf("the attack: %q, %v", r.out, r.err)
			}
			if nonces < 3 {
				t.Errorf("%d documents came while the neighbour was hostile", nonces)
			}
			// The neighbour starts another one, and the Host knows of no failure.
			neighbour.Exec(t, "nitro-cli terminate-enclave --all")
			neighbour.RunEnclave(t, harness.GuestSampleEIF, 256, 2)
			if ended := hostile.Ended(); ended != "" {
				t.Errorf("the hostile instance brought itself down: %q, %v", ended, hostile.Err())
			}
			// What its root can do at most: power its slots off, vsock first, upon
			// which its QEMU aborts (11.1.3, functions with MSI-X). That is its own end.
			serial, err := hostile.SerialAgent(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer serial.Close()
			go func() {
				_, _ = serial.Output(t.Context(), "for s in /sys/bus/pci/slots/*; do echo 0 > $s/power; done; sleep 5; poweroff -f")
			}()
			select {
			case <-hostile.Done():
			case <-time.After(host.Timeout(20 * time.Second)):
				t.Error("the hostile instance has not ended")
			}
			nonce := []byte("still there")
			second := describeEnclaves(t, neighbour)[0]
			host.MustVerify(t, askParent(t, host, neighbour.Enclave(second.EnclaveCID), nonce), harness.Policy(neighbour.Enclave(second.EnclaveCID).Enclave(t).Measurements(), nonce))
			return
		default:
		}
		nonce := []byte(fmt.Sprint("nonce ", nonces))
		host.MustVerify(t, askParent(t, host, enclave, nonce), harness.Policy(enclave.Enclave(t).Measurements(), nonce))
		nonces++
	}
}

// hostileSeconds is how long the attack takes.
const hostileSeconds = 60.0
