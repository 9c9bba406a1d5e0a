package emulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/nitrolab/nitrolab/devices/enclaves"
	"github.com/nitrolab/nitrolab/devices/guestmem"
	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator/guestagent"
	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/guest/instance/control"
	"github.com/nitrolab/nitrolab/guest/instance/mux"
)

// An Instance is one parent instance: a QEMU process with its Nitro cards, and the
// enclaves that were started from inside it. Its methods may be called
// concurrently.
type Instance struct {
	host *Host
	cfg  InstanceConfig
	log  *slog.Logger

	// Immutable once Launch has returned.
	identity machineIdentity
	parent   *parent
	dir      string
	ram      *guestmem.RAM
	machine  *machine
	nitro    *enclaves.Device
	control  *control.Client
	serial   *mux.Host
	ready    control.Ready
	warm     bool
	made     bool // the snapshot was made by its launch
	began    time.Time
	answered time.Duration // from the beginning of Launch to the agent's first answer

	done chan struct{} // closed when the instance is gone and all is removed

	mu     sync.Mutex // guards the fields below
	state  State
	reason EndReason // set once, by the first who ends it
	err    error     // set with reason
}

// An InstanceInfo describes an instance.
type InstanceInfo struct {
	InstanceID   string
	Name         string
	InstanceType string
	State        State
	ProcessID    int // of the process that manages it, this one
	QEMU         int // process id
	CPUs         int
	MemoryMiB    int
	Kernel       string // release
	Warm         bool   // restored from a snapshot
	Made         bool   // that snapshot was made for it, which Answered includes
	Started      time.Time
	Answered     time.Duration // from the beginning of its launch to its agent's first answer
	Enclaves     int
}

// Info describes the instance as it stands.
func (i *Instance) Info() InstanceInfo {
	i.mu.Lock()
	defer i.mu.Unlock()
	return InstanceInfo{
		InstanceID: i.ID(), Name: i.cfg.Name, InstanceType: i.cfg.Type, State: i.state,
		ProcessID: os.Getpid(), QEMU: i.machine.process.Pid(),
		CPUs: i.cfg.CPUs, MemoryMiB: i.cfg.MemoryMiB, Kernel: i.ready.Release,
		Warm: i.warm, Made: i.made, Started: i.began, Answered: i.answered, Enclaves: len(i.parent.list()),
	}
}

// ID is the instance id. PCR4 of its enclaves is made from it.
func (i *Instance) ID() string { return i.identity.InstanceID }

// PID is the process id of the instance's QEMU.
func (i *Instance) PID() int { return i.machine.process.Pid() }

// Enclaves lists those that run, by CID. They are started from inside.
func (i *Instance) Enclaves() []*Enclave { return i.parent.list() }

// Switch is the vsock of the instance and its enclaves, for faults and counters.
func (i *Instance) Switch() *vsock.Switch { return i.parent.vsock }

// NitroEnclaves is the device through which enclaves are started.
func (i *Instance) NitroEnclaves() *enclaves.Device { return i.nitro }

// RAM is the instance's memory as the operator of the Host sees it.
func (i *Instance) RAM() *guestmem.RAM { return i.ram }

// Console is the serial console.
func (i *Instance) Console() *qemu.Console { return i.machine.process.Console() }

// Done is closed when the instance has ended, with all its enclaves, and
// everything of it is gone.
func (i *Instance) Done() <-chan struct{} { return i.done }

// Ended says why the instance ended, and is empty while it has not.
func (i *Instance) Ended() EndReason {
	select {
	case <-i.done:
	default:
		return ""
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.reason
}

// Err is nil for an instance that has not ended, that its owner terminated, or that
// powered itself off. Else it says what went wrong, as [Enclave.Err] does.
func (i *Instance) Err() error {
	select {
	case <-i.done:
	default:
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.err
}

// Dial opens a connection from the Host to a vsock port of the instance. The
// instance sees CID 2.
func (i *Instance) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	return i.parent.dial(ctx, vsock.CIDHost, vsock.CIDParent, port)
}

// DialAs opens a connection as if from CID from to a port of CID to, which is how
// a test plays an attacker.
func (i *Instance) DialAs(ctx context.Context, from, to, port uint32) (net.Conn, error) {
	return i.parent.dial(ctx, from, to, port)
}

// Agent connects to the agent in the instance, which runs commands and copies
// files: over vsock, or where the guest's vsock does not work over a serial port,
// which is slower. The caller closes the client.
func (i *Instance) Agent(ctx context.Context) (*guestagent.Client, error) {
	client, err := i.agentOverVsock(ctx)
	if err != nil && ctx.Err() == nil {
		i.log.Debug("agent over its serial port", "because", err)
		client, err = i.SerialAgent(ctx)
	}
	return client, err
}

// vsockShare is the part of the time for a connection that vsock may take before
// the serial port is tried.
const vsockShare = 2

func (i *Instance) agentOverVsock(ctx context.Context) (*guestagent.Client, error) {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/vsockShare)
		defer cancel()
	}
	conn, err := i.Dial(ctx, ports.Agent)
	if err != nil {
		return nil, fmt.Errorf("connect to the agent of %s: %w", i.ID(), err)
	}
	return guestagent.New(ctx, conn)
}

// SerialAgent is Agent over the serial port alone.
func (i *Instance) SerialAgent(ctx context.Context) (*guestagent.Client, error) {
	conn, err := i.serial.Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the agent of %s over its serial port: %w", i.ID(), err)
	}
	return guestagent.New(ctx, conn)
}

// Terminate ends the instance with all its enclaves and returns when they are
// gone.
func (i *Instance) Terminate(ctx context.Context) error {
	i.end(EndTerminated, nil)
	select {
	case <-i.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("terminate %s: %w", i.ID(), ctx.Err())
	}
}

// Close is Terminate without a limit. It returns the error of the end itself, not
// [Instance.Err].
func (i *Instance) Close() error {
	i.end(EndTerminated, nil)
	<-i.done
	return nil
}

// end makes the instance end for a reason; the first one counts.
func (i *Instance) end(reason EndReason, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.reason == "" {
		i.reason, i.err, i.state = reason, err, Terminating
		close(i.machine.stop)
	}
}

// watch is the life of an instance after its launch, in a goroutine of its own.
func (i *Instance) watch() {
	defer close(i.done)
	select {
	case <-i.machine.stop:
	case <-i.machine.process.Done():
		i.end(i.machine.verdict("the instance ended", false))
	case <-i.machine.broken:
		i.end(EndFailure, i.machine.failure())
	}
	i.takeDown()
	i.mu.Lock()
	reason, err := i.reason, i.err
	i.mu.Unlock()
	if err != nil {
		i.keepArtifacts(err)
	}
	i.host.forgetInstance(i)
	i.removeDir()
	i.mu.Lock()
	i.state = Terminated
	i.mu.Unlock()
	i.log.Info("instance ended", "reason", reason)
}

// takeDown ends the instance's enclaves and then its machine.
func (i *Instance) takeDown() {
	i.parent.refuse()
	if i.machine.process != nil {
		_ = i.machine.process.Kill() // it starts nothing more
	}
	errs := []error{}
	if i.nitro != nil {
		errs = append(errs, i.nitro.Close())
	}
	errs = append(errs, i.parent.endEnclaves()...)
	i.machine.close()
	errs = append(errs, i.parent.vsock.Close(), i.ram.Close())
	if i.control != nil {
		_ = i.control.Close() // QEMU has closed its end
	}
	if i.serial != nil {
		_ = i.serial.Close()
	}
	if err := errors.Join(errs...); err != nil {
		i.log.Error("take down instance", "err", err)
	}
}

func (i *Instance) removeDir() {
	if i.host.cfg.KeepEnclaveDirs {
		i.host.keep(i.remains()) // it goes with the Host
		return
	}
	if err := os.RemoveAll(i.dir); err != nil {
		i.log.Error("remove instance directory", "err", err)
	}
}
