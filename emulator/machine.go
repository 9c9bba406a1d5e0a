package emulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/vfiouser"
	"github.com/nitrolab/nitrolab/devices/vhostuser"
	"github.com/nitrolab/nitrolab/devices/virtio"
	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/emulator/guard"
	"github.com/nitrolab/nitrolab/emulator/qemu"
)

// consoleTail is how much of a console is shown at once, all that is in memory.
const consoleTail = 64 << 10

// A machine is a QEMU with the device models behind it, of an enclave or an
// instance. They
// live and die together: QEMU never picks a dead vhost-user backend up again,
// and its guest would wait for the security module for ever
// (enclave-observed.md section 4).
type machine struct {
	process *qemu.Process
	vsock   *vsock.Device
	stop    chan struct{} // closed to take the machine down

	ctx     context.Context // of the device models
	cancel  context.CancelFunc
	serving sync.WaitGroup

	broken chan struct{} // closed when a device model failed
	mu     sync.Mutex
	err    error // guarded by mu: why it is broken
}

func newMachine() *machine {
	m := &machine{stop: make(chan struct{}), broken: make(chan struct{})}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// boot starts the machine for an image.
func (e *Enclave) boot(ctx context.Context, im *checkedImage, slot uint64) (_ *machine, err error) {
	plan, err := planBoot(im.Image, e.cfg.Form, kernelCache{e.host.kernelDir()})
	if err != nil {
		return nil, err
	}
	e.log.Info("machine chosen", "form", plan.form, "because", plan.reason, "kernel", plan.kernel, "unpacked", plan.vmlinux != "")
	kernel, initrd, err := im.unpack(e.dir, plan)
	if err != nil {
		return nil, fmt.Errorf("unpack image: %w", err)
	}
	cmdline, err := im.Cmdline()
	if err != nil {
		return nil, err
	}
	module, err := e.securityModule(im, slot)
	if err != nil {
		return nil, err
	}

	m := newMachine()
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if m.vsock, err = e.parent.vsock.Attach(e.cid); err != nil {
		return nil, fmt.Errorf("attach vsock: %w", err)
	}
	vsockFile, err := m.serve(e.log, "vsock", m.vsock)
	if err != nil {
		return nil, err
	}
	moduleFile, err := m.serve(e.log, "nsm", module)
	if err != nil {
		vsockFile.Close()
		return nil, err
	}
	memory, err := e.memory()
	if err != nil {
		vsockFile.Close()
		moduleFile.Close()
		return nil, err
	}
	tools := e.host.cfg.Tools.QEMU
	devices := e.devices(plan, qemu.Kernel{Image: kernel, Initrd: initrd, Append: cmdline}, vsockFile, moduleFile)
	m.process, err = qemu.Start(ctx, qemu.Config{
		Binary:  tools.Argv,
		Env:     tools.Env,
		Devices: append(devices, memory),
		Accel:   e.host.cfg.Accel,
		Name:    e.info.EnclaveID,
		Dir:     e.dir,
		Remove:  e.cfg.Remove,
		Log:     e.log,
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// securityModule is the NSM of this enclave: real measurements of the image, a
// leaf of its own.
func (e *Enclave) securityModule(im *checkedImage, slot uint64) (*nsm.Device, error) {
	h := e.host
	issuer, err := h.authority.Enclave(attestation.EnclaveID{
		InstanceID: e.parent.instanceID,
		SlotUID:    slot,
		ModuleID:   e.info.ModuleID,
		Region:     h.Region(),
	})
	if err != nil {
		return nil, err
	}
	return nsm.New(nsm.Config{
		ModuleID:     e.info.ModuleID,
		Measurements: im.registers(e.parent.instanceID, h.cfg.Role),
		DebugMode:    e.cfg.Debug,
		Attester:     attester{issuer: issuer, encoding: e.cfg.Encoding},
		Entropy:      h.entropy,
		Log:          e.log,
	})
}

// memory is the enclave's RAM.
func (e *Enclave) memory() (qemu.Device, error) {
	if e.cfg.ram == nil {
		return qemu.Memory{MiB: e.cfg.MemoryMiB, Shared: true}, nil
	}
	file, err := e.cfg.ram.Dup()
	if err != nil {
		return nil, err
	}
	return qemu.MemoryFile{MiB: e.cfg.MemoryMiB, File: file}, nil
}

// devices is the machine of an enclave in one of its two forms, as measured in
// enclave-observed.md section 3, without its memory.
func (e *Enclave) devices(plan bootPlan, kernel qemu.Kernel, vsockFile, moduleFile *os.File) []qemu.Device {
	// On the command line the first two slots have the interrupts of real Nitro
	// hosts, 5 and 6. With ACPI slot 0 is dead: its interrupt never arrives.
	vsockBus, moduleBus := qemu.MMIOSlot(0), qemu.MMIOSlot(1)
	if plan.form == FormACPI {
		vsockBus, moduleBus = qemu.MMIOSlot(1), qemu.MMIOSlot(2)
	}
	accel := e.host.cfg.Accel
	devices := []qemu.Device{
		qemu.Microvm{ACPI: plan.form == FormACPI},
		// With ACPI the default is SeaBIOS, which must not be used here: QEMU loads
		// a ramdisk up to the top of RAM, where SeaBIOS puts its ACPI tables, and
		// depending on the ramdisk's size it overwrites them: the kernel then
		// hangs at "ACPI: Core revision". Apart from that, kernels with the PVH
		// entry were reset in their first half second in 3 of 11 starts under TCG.
		// qboot puts the tables below 1 MiB; 0 of 112 starts failed (QEMU 11.1.3,
		// Linux 6.12.117).
		qemu.Firmware{Path: "qboot.rom"},
		accel,
		qemu.CPU{Model: accel.CPUModel(), Count: e.cfg.CPUs},
		kernel,
		qemu.I8042{},
		qemu.VhostUser{ID: "vsock", Driver: qemu.DriverVsock, Bus: vsockBus, File: vsockFile},
		qemu.VhostUser{ID: "nsm", Driver: qemu.DriverGeneric, VirtioID: virtio.IDNSM, Queues: 1, Bus: moduleBus, File: moduleFile},
	}
	return append(devices, clockDevices(accel, e.log)...)
}

// clockDevices tell a guest the frequency of its clock. Under KVM the kernel asks
// the hypervisor.
func clockDevices(accel qemu.Accel, log *slog.Logger) []qemu.Device {
	if accel.Name == qemu.KVM {
		return nil
	}
	khz, err := qemu.HostTSCKHz()
	if err != nil {
		log.Warn("the guest has to calibrate its clock itself, which may hang", "err", err)
		return nil
	}
	// Without nowatchdog a kernel on a busy host called its TSC unstable in every
	// second boot, and went on with a clock that loses time: 13 s of ours were 5 s
	// of its own. With it, 0 of 8.
	return []qemu.Device{qemu.TSC{KHz: khz}, qemu.Extra{Kernel: []string{"tsc=nowatchdog"}}}
}

// serve starts a device model and returns QEMU's end of its socket.
func (m *machine) serve(log *slog.Logger, name string, dev virtio.Device) (*os.File, error) {
	conn, file, err := guard.SocketPair()
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", name, err)
	}
	log = log.With("device", name)
	m.serving.Go(func() {
		err := vhostuser.Serve(m.ctx, conn, dev, &vhostuser.Config{
			Log: log,
			// The guest sees a quiet device, which is all it did to itself.
			OnRingError: func(queue int, err error) { log.Warn("ring stopped", "queue", queue, "err", err) },
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			m.fail(fmt.Errorf("device model %s: %w", name, err))
		}
	})
	return file, nil
}

// serveFunction starts a PCIe device model and returns the file that stands for
// its listening socket, see [guard.UnixListener]. QEMU connects once.
func (m *machine) serveFunction(log *slog.Logger, name string, fn *pci.Function, dir string) (*os.File, error) {
	l, file, err := guard.UnixListener(dir)
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", name, err)
	}
	stop := context.AfterFunc(m.ctx, func() { _ = l.Close() })
	m.serving.Go(func() {
		defer stop()
		conn, err := l.AcceptUnix()
		_ = l.Close()
		if err != nil {
			return // nobody came before the end
		}
		err = vfiouser.Serve(m.ctx, conn, fn, &vfiouser.Config{Log: log.With("device", name)})
		if err != nil && !errors.Is(err, context.Canceled) {
			m.fail(fmt.Errorf("device model %s: %w", name, err))
		}
	})
	return file, nil
}

// fail records the first failure of a device model.
func (m *machine) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = err
		close(m.broken)
	}
}

// close takes everything down, QEMU first, and leaves nothing.
func (m *machine) close() {
	if m.process != nil {
		_ = m.process.Close() // it is dead or somebody else killed it
	}
	m.cancel()
	m.serving.Wait()
	if m.vsock != nil {
		m.vsock.Close()
	}
}

// verdict says how the guest's own end is to be judged. An enclave that resets
// after its heartbeat has done its work; before, it never came up.
func (m *machine) verdict(what string, early bool) (EndReason, error) {
	exit := m.process.Wait()
	select {
	case <-m.broken: // that is why QEMU ended
		return EndFailure, m.failure()
	default:
	}
	switch {
	case errors.Is(exit, qemu.ErrGuestPanic):
		return EndPanic, m.process.Explain(what)
	case exit.Guest() && early:
		return EndReset, m.process.Explain(what)
	case exit.Guest():
		return EndReset, nil
	}
	return EndFailure, m.process.Explain(what)
}

// blame explains what did not happen in time.
func (m *machine) blame(what string) error { return m.process.Explain(what) }

// failure is why a device model broke.
func (m *machine) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &qemu.InfraError{Title: "a device model failed", Err: m.err, Reproduce: m.process.Reproduce()}
}
