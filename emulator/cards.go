package emulator

import (
	"context"
	"fmt"
	"os"

	"github.com/nitrolab/nitrolab/devices/enclaves"
	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/emulator/guard"
	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/guest/instance/control"
	"github.com/nitrolab/nitrolab/guest/instance/mux"
)

const (
	rootPorts  = 8 // how many cards an instance has room for
	nitroCards = 2 // those that every instance has: vsock and Nitro Enclaves
)

// expectedDevices are what the guest's drivers must have found before a launch is
// over.
var expectedDevices = []string{control.Vsock, control.PCI(enclaves.VendorID, enclaves.DeviceID)}

// driverVsockPCI is the vsock of an instance.
const driverVsockPCI = "vhost-user-vsock-pci"

// bootDevices are what a machine that boots has more than one that is restored.
func (i *Instance) bootDevices() ([]qemu.Device, error) {
	image, err := bootableKernel(i.cfg.Image.Kernel, kernelCache{i.host.kernelDir()})
	if err != nil {
		return nil, fmt.Errorf("launch: %w", err)
	}
	kernel := qemu.Kernel{Image: image, Initrd: i.cfg.Image.Initramfs, Append: i.cfg.Image.KernelArgs}
	return append(clockDevices(i.host.cfg.Accel, i.log), kernel), nil
}

// bootableKernel is the uncompressed kernel, which starts faster, or the file
// itself.
func bootableKernel(path string, cache kernelCache) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("kernel: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("kernel: %w", err)
	}
	k, err := cache.inspect(f, st.Size())
	if err != nil {
		return "", fmt.Errorf("kernel %s: %w", path, err)
	}
	if k.path == "" {
		return path, nil
	}
	return k.path, nil
}

// shape is the hardware of an instance without its cards. A snapshot fits the same
// shape only.
func (i *Instance) shape(ram *os.File) []qemu.Device {
	accel := i.host.cfg.Accel
	return []qemu.Device{
		qemu.Q35{SplitIRQChip: accel.Name == qemu.KVM},
		accel,
		qemu.CPU{Model: accel.CPUModel(), Count: i.cfg.CPUs, Threads: i.cfg.Threads},
		qemu.MemoryFile{MiB: i.cfg.MemoryMiB, File: ram},
		qemu.SMBIOS{InstanceType: i.cfg.Type, InstanceID: i.identity.InstanceID, UUID: i.identity.UUID},
		qemu.RootPorts{Count: rootPorts},
		qemu.VirtioSerial{},
		qemu.VirtioRNG{},
	}
}

// openPorts makes the channels to the guest's init: its control, and the way to
// its agent that needs no vsock.
func (i *Instance) openPorts() ([]qemu.Device, error) {
	controlConn, controlFile, err := guard.SocketPair()
	if err != nil {
		return nil, fmt.Errorf("launch: control channel: %w", err)
	}
	i.control = control.NewClient(controlConn)
	muxConn, muxFile, err := guard.SocketPair()
	if err != nil {
		_ = controlFile.Close()
		return nil, fmt.Errorf("launch: agent channel: %w", err)
	}
	i.serial = mux.NewHost(muxConn)
	return []qemu.Device{
		qemu.SerialPort{ID: "control", Name: control.Port, File: controlFile},
		qemu.SerialPort{ID: "agent", Name: mux.Port, File: muxFile},
	}, nil
}

// plugCards plugs the Nitro cards into the paused machine.
func (i *Instance) plugCards(ctx context.Context) error {
	if err := i.plugVsock(ctx, qemu.RootPort(0)); err != nil {
		return fmt.Errorf("launch: %w", err)
	}
	if err := i.plugNitroEnclaves(ctx, qemu.RootPort(1)); err != nil {
		return fmt.Errorf("launch: %w", err)
	}
	for n, c := range i.cfg.Cards {
		if err := i.plugFunction(ctx, fmt.Sprintf("card%d", n), c.Name, qemu.RootPort(nitroCards+n), c.Function); err != nil {
			return fmt.Errorf("launch: %w", err)
		}
	}
	return nil
}

// plugFunction plugs one PCIe function. name is for the log.
func (i *Instance) plugFunction(ctx context.Context, id, name, port string, f *pci.Function) error {
	file, err := i.machine.serveFunction(i.log, name, f, i.dir)
	if err != nil {
		return err
	}
	defer file.Close()
	return i.machine.process.PlugVfioUser(ctx, id, port, file)
}

func (i *Instance) plugVsock(ctx context.Context, port string) (err error) {
	m := i.machine
	if m.vsock, err = i.parent.vsock.Attach(vsock.CIDParent); err != nil {
		return fmt.Errorf("attach vsock: %w", err)
	}
	file, err := m.serve(i.log, "vsock", m.vsock)
	if err != nil {
		return err
	}
	defer file.Close()
	return m.process.PlugVhostUser(ctx, driverVsockPCI, "vsock", port, file)
}

// slotUID makes the number behind an enclave's id. 0 lets the device choose.
func (i *Instance) slotUID() uint64 {
	uid, err := newSlotUID(i.host.Now(), i.host.entropy)
	if err != nil {
		i.log.Error("slot uid", "err", err)
	}
	return uid
}

func (i *Instance) plugNitroEnclaves(ctx context.Context, port string) (err error) {
	i.nitro, err = enclaves.New(enclaves.Config{
		Hypervisor:     hypervisor{i},
		CPUs:           i.cfg.CPUs,
		ThreadsPerCore: i.cfg.Threads,
		NewSlotUID:     i.slotUID,
		Weaken:         i.host.cfg.Weaken,
		Log:            i.log.With("device", "nitro-enclaves"),
	})
	if err != nil {
		return err
	}
	const name = "nitro-enclaves"
	return i.plugFunction(ctx, name, name, port, i.nitro.Function())
}
