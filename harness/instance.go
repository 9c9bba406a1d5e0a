package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/guestagent"
	"github.com/nitrolab/nitrolab/images/instance"
)

// An Instance is a parent instance. The methods of [emulator.Instance] work on it
// too; those here fail the test themselves.
type Instance struct {
	*emulator.Instance
	host *Host

	mu    sync.Mutex
	agent *guestagent.Client // guarded by mu: the connection to the agent, once there is one
}

// An InstanceOption changes what [Host.Launch] starts. Nil is no option.
type InstanceOption func(*emulator.InstanceConfig) error

// Shape of an instance that a test says nothing about: room for two enclaves. One
// shape for most tests means one snapshot.
const (
	instanceCPUs   = 6
	instanceMemory = 1280
)

// InstanceCPUs are the processors of the instance, in cores of two if the number is
// even; default 6, so that two enclaves can have 2 each.
func InstanceCPUs(n int) InstanceOption {
	return func(c *emulator.InstanceConfig) error { c.CPUs = n; return nil }
}

// InstanceMemory in MiB, out of which it donates that of its enclaves; default 1280.
func InstanceMemory(mib int) InstanceOption {
	return func(c *emulator.InstanceConfig) error { c.MemoryMiB = mib; return nil }
}

// Cold boots the instance instead of restoring it.
func Cold() InstanceOption {
	return func(c *emulator.InstanceConfig) error { c.Cold = true; return nil }
}

// InstanceImage is what the instance boots, from [BuildInstance]; default an image
// with nitrolab's guest programs.
func InstanceImage(image *instance.Image) InstanceOption {
	return func(c *emulator.InstanceConfig) error { c.Image = image; return nil }
}

// Where the images of [Instance.RunEnclave] are in the default image of an instance.
const (
	GuestSampleEIF = "/usr/share/nitro_enclaves/examples/sample.eif" // [SampleEIF]
	GuestAgentEIF  = "/usr/share/nitro_enclaves/examples/agent.eif"  // [AgentEIF]
)

// Launch starts an instance, which ends with the test or subtest t.
func (h *Host) Launch(t testing.TB, opts ...InstanceOption) *Instance {
	t.Helper()
	i, err := h.TryLaunch(t, opts...)
	if err != nil {
		t.Fatalf("harness: launch: %s", h.artifacts.report(t, h.Host, err))
	}
	return i
}

// TryLaunch is Launch for a test in which it may fail.
func (h *Host) TryLaunch(t testing.TB, opts ...InstanceOption) (*Instance, error) {
	t.Helper()
	var cfg emulator.InstanceConfig
	for _, o := range opts {
		if o == nil {
			continue
		}
		if err := o(&cfg); err != nil {
			t.Fatalf("harness: option: %v", err)
		}
	}
	if cfg.Image == nil {
		cfg.Image = defaultInstance(t)
	}
	if cfg.CPUs == 0 {
		cfg.CPUs = instanceCPUs
	}
	if cfg.MemoryMiB == 0 {
		cfg.MemoryMiB = instanceMemory
	}
	i, err := h.Host.Launch(t.Context(), cfg)
	if err != nil {
		return nil, err
	}
	in := &Instance{Instance: i, host: h}
	t.Cleanup(func() {
		in.closeAgent()
		if err := i.Close(); err != nil {
			t.Errorf("harness: close instance: %v", err)
		}
	})
	return in, nil
}

// Agent is a connection to the agent in the instance, over vsock.
func (i *Instance) Agent(t testing.TB) *guestagent.Client {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.agent != nil {
		return i.agent
	}
	ctx, cancel := context.WithTimeout(t.Context(), i.host.Timeout(dialTimeout))
	defer cancel()
	agent, err := i.Instance.Agent(ctx)
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	i.agent = agent
	return agent
}

func (i *Instance) closeAgent() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.agent != nil {
		_ = i.agent.Close() // the instance may be gone already
		i.agent = nil
	}
}

// Exec runs a command line in the instance's shell and returns its output.
func (i *Instance) Exec(t testing.TB, command string) string {
	t.Helper()
	out, err := i.TryExec(t, command)
	if err != nil {
		t.Fatalf("harness: %q in %s: %v", command, i.ID(), err)
	}
	return out
}

// TryExec is Exec for a command that may fail; then the error is a
// [*guestagent.ExitError].
func (i *Instance) TryExec(t testing.TB, command string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), i.host.Timeout(nitroCLITimeout))
	defer cancel()
	out, err := i.Agent(t).Output(ctx, command)
	return string(out), err
}

// Allocate reserves memory, in MiB, and CPUs for enclaves, as the allocator of
// nitro-cli does at boot.
func (i *Instance) Allocate(t testing.TB, mib, cpus int) {
	t.Helper()
	i.Exec(t, fmt.Sprintf("printf -- '---\\nmemory_mib: %d\\ncpu_count: %d\\n' > /etc/nitro_enclaves/allocator.yaml && nitro-enclaves-allocator", mib, cpus))
}

// A ParentEnclave is an enclave that was started from inside an instance, as its
// nitro-cli describes it.
type ParentEnclave struct {
	EnclaveName, EnclaveID string
	ProcessID              int
	EnclaveCID             uint32
	NumberOfCPUs           int
	CPUIDs                 []int
	MemoryMiB              int

	instance *Instance
}

// RunEnclave runs nitro-cli run-enclave in the instance: eif is a path there, args
// are further flags. The memory and the CPUs must have been allocated.
func (i *Instance) RunEnclave(t testing.TB, eif string, mib, cpus int, args ...string) *ParentEnclave {
	t.Helper()
	e, err := i.TryRunEnclave(t, eif, mib, cpus, args...)
	if err != nil {
		t.Fatalf("harness: run-enclave in %s: %v", i.ID(), err)
	}
	return e
}

// TryRunEnclave is RunEnclave for a test in which it may fail: with nitro-cli's
// words in a [*guestagent.ExitError].
func (i *Instance) TryRunEnclave(t testing.TB, eif string, mib, cpus int, args ...string) (*ParentEnclave, error) {
	t.Helper()
	out, err := i.TryExec(t, fmt.Sprintf("nitro-cli run-enclave --eif-path %s --memory %d --cpu-count %d %s", eif, mib, cpus, strings.Join(args, " ")))
	if err != nil {
		return nil, err
	}
	e := &ParentEnclave{instance: i}
	if err := json.Unmarshal([]byte(out), e); err != nil {
		return nil, fmt.Errorf("nitro-cli printed %q: %w", out, err)
	}
	return e, nil
}

// Enclave is the enclave with a CID that some program in the instance has started
// by itself.
func (i *Instance) Enclave(cid uint32) *ParentEnclave {
	return &ParentEnclave{EnclaveCID: cid, instance: i}
}

// Enclave is the machine behind an enclave that was started from inside, as the
// operator of the Host sees it.
func (e *ParentEnclave) Enclave(t testing.TB) *emulator.Enclave {
	t.Helper()
	for _, m := range e.instance.Enclaves() {
		if m.CID() == e.EnclaveCID {
			return m
		}
	}
	t.Fatalf("harness: no enclave of %s has CID %d", e.instance.ID(), e.EnclaveCID)
	return nil
}

// Dial connects from the parent to a port of the enclave, through the parent's
// kernel.
func (e *ParentEnclave) Dial(t testing.TB, port uint32) net.Conn {
	t.Helper()
	return e.instance.Pipe(t, fmt.Sprintf("exec vsock connect %d %d", e.EnclaveCID, port))
}

// Agent is a connection to the agent in an enclave of [AgentEIF], through the
// parent's kernel.
func (e *ParentEnclave) Agent(t testing.TB) *guestagent.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), e.instance.host.Timeout(dialTimeout))
	defer cancel()
	for {
		c, err := guestagent.New(ctx, e.Dial(t, ports.Agent))
		if err == nil {
			t.Cleanup(func() { c.Close() })
			return c
		}
		// The heartbeat comes before the application, so the first answers may be
		// refusals.
		if ctx.Err() != nil {
			t.Fatalf("harness: agent of %s: %v", e.EnclaveID, err)
		}
	}
}

// Exec runs a command line in the shell of an enclave of [AgentEIF].
func (e *ParentEnclave) Exec(t testing.TB, command string) string {
	t.Helper()
	agent := e.Agent(t)
	defer agent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), e.instance.host.Timeout(execTimeout))
	defer cancel()
	out, err := agent.Output(ctx, command)
	if err != nil {
		t.Fatalf("harness: %q in %s: %v", command, e.EnclaveID, err)
	}
	return string(out)
}

// Pipe starts a command in the instance and returns its input and output as a
// connection, which is closed with the test.
func (i *Instance) Pipe(t testing.TB, command string) net.Conn {
	t.Helper()
	p, err := i.Agent(t).Start(command)
	if err != nil {
		t.Fatalf("harness: %q in %s: %v", command, i.ID(), err)
	}
	t.Cleanup(func() { p.Close() })
	ours, theirs := net.Pipe()
	var copying sync.WaitGroup
	copying.Go(func() { _, _ = io.Copy(p, theirs); _ = p.Close() })
	copying.Go(func() { _, _ = io.Copy(theirs, p); _ = theirs.Close() })
	t.Cleanup(func() { ours.Close(); theirs.Close(); p.Close(); copying.Wait() })
	return ours
}

// ExitText is what a command that failed in a guest wrote to standard error; empty
// if err is something else.
func ExitText(err error) string {
	var exit *guestagent.ExitError
	if errors.As(err, &exit) {
		return string(exit.Stderr)
	}
	return ""
}
