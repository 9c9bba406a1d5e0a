package qemu

import (
	"errors"
	"fmt"
	"os"
	"strconv"
)

// Q35 is the machine of a parent instance: PCI Express, with an IOMMU in front of
// every card. What such an instance has no use for is left out, which saves a
// second of its boot under TCG.
type Q35 struct {
	// SplitIRQChip is needed for interrupt remapping under KVM.
	SplitIRQChip bool
}

func (m Q35) Args() []string {
	machine := "q35,sata=off,smbus=off,usb=off,vmport=off"
	if m.SplitIRQChip {
		machine += ",kernel-irqchip=split"
	}
	return []string{
		"-M", machine,
		// Before every device that is behind it. With caching-mode QEMU hears of
		// each mapping the guest makes; without it QEMU aborts when the guest
		// turns translation on.
		"-device", "intel-iommu,caching-mode=on",
	}
}

// KernelArgs is empty: a machine that is restored has no command line. Kernels want
// intel_iommu=on iommu.passthrough=0.
func (Q35) KernelArgs() []string { return nil }

// RootPorts are empty slots into which cards are plugged. A card that appears on
// the root bus after the boot belongs to no IOMMU (the scope of the DMAR table is
// per device), so ports must be there before.
type RootPorts struct{ Count int } // 1 to MaxRootPorts

// MaxRootPorts is how many there can be: the slots of bus 0 from firstRootPort on.
const MaxRootPorts = 16

// firstRootPort is the slot of bus 0 that the first port has.
const firstRootPort = 0x08

// RootPort is the bus behind the nth port, from 0.
func RootPort(n int) string { return "rp" + strconv.Itoa(n) }

func (r RootPorts) Args() []string {
	var args []string
	for n := range r.Count {
		args = append(args, "-device", fmt.Sprintf("pcie-root-port,id=%s,bus=pcie.0,chassis=%d,slot=%d,addr=%#x", RootPort(n), n+1, n+1, firstRootPort+n))
	}
	return args
}

func (RootPorts) KernelArgs() []string { return nil }

// Validate implements [Validator].
func (r RootPorts) Validate() error {
	if r.Count < 1 || r.Count > MaxRootPorts {
		return fmt.Errorf("RootPorts.Count is %d, must be 1 to %d", r.Count, MaxRootPorts)
	}
	return nil
}

// SMBIOS is what an EC2 instance says of itself in its firmware tables
// (parent-devices.md section 6.3): cloud-init, systemd-detect-virt and nitro-cli
// look there.
type SMBIOS struct {
	InstanceType string // such as "m5.xlarge"
	InstanceID   string // such as "i-0123456789abcdef0"
	UUID         string // begins with "ec2"
}

func (s SMBIOS) Args() []string {
	return []string{
		"-smbios", "type=0,vendor=Amazon EC2,version=1.0,date=10/16/2017",
		"-smbios", "type=1,manufacturer=Amazon EC2,product=" + escape(s.InstanceType) + ",serial=" + escape(s.UUID) + ",uuid=" + escape(s.UUID),
		"-smbios", "type=2,manufacturer=Amazon EC2,product=,asset=" + escape(s.InstanceID),
		"-smbios", "type=3,manufacturer=Amazon EC2,asset=Amazon EC2",
	}
}

func (SMBIOS) KernelArgs() []string { return nil }

// Validate implements [Validator].
func (s SMBIOS) Validate() error {
	for _, f := range []struct{ name, value string }{{"InstanceType", s.InstanceType}, {"InstanceID", s.InstanceID}, {"UUID", s.UUID}} {
		if f.value == "" {
			return fmt.Errorf("SMBIOS.%s is empty", f.name)
		}
	}
	return nil
}

// VirtioSerial carries [SerialPort]s. It is QEMU's own device, so it can be in a
// snapshot.
type VirtioSerial struct{}

func (VirtioSerial) Args() []string {
	return []string{"-device", "virtio-serial-pci,id=vserial,bus=pcie.0,addr=0x3"}
}
func (VirtioSerial) KernelArgs() []string { return nil }

// VirtioRNG feeds the guest from the host's random numbers.
type VirtioRNG struct{}

func (VirtioRNG) Args() []string {
	return []string{"-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng,bus=pcie.0,addr=0x4"}
}
func (VirtioRNG) KernelArgs() []string { return nil }

// SerialPort is one named stream to the guest, /dev/virtio-ports/NAME there.
type SerialPort struct {
	ID   string   // unique
	Name string   // what the guest sees
	File *os.File // QEMU's end of a socket, see guard.SocketPair
}

// Args is empty: without its other end the port cannot be created.
func (SerialPort) Args() []string       { return nil }
func (SerialPort) KernelArgs() []string { return nil }

// Files implements [Inheritor].
func (s SerialPort) Files() []*os.File { return []*os.File{s.File} }

// FileArgs implements [Inheritor].
func (s SerialPort) FileArgs(fds []int) []string {
	chardev := s.ID + "-socket"
	return []string{
		"-chardev", socketChardev(chardev, fds[0]),
		"-device", "virtserialport,bus=vserial.0,id=" + escape(s.ID) + ",chardev=" + escape(chardev) + ",name=" + escape(s.Name),
	}
}

// Note implements [Inheritor].
func (s SerialPort) Note() string { return "without the serial port " + s.Name }

// Validate implements [Validator].
func (s SerialPort) Validate() error {
	switch {
	case s.ID == "" || s.Name == "":
		return errors.New("SerialPort.ID and SerialPort.Name must not be empty")
	case s.File == nil:
		return fmt.Errorf("SerialPort.File of %q is nil", s.ID)
	}
	return nil
}
