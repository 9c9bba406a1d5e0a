package qemu

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Microvm is QEMU's machine without PCI, the nearest to an enclave's: devices
// sit on virtio-mmio.
//
// Without ACPI, QEMU appends a virtio_mmio.device= for each device to the
// kernel's command line, which kernels with VIRTIO_MMIO_CMDLINE_DEVICES read,
// stock enclave kernels among them. With ACPI the devices are in the DSDT; then
// slot 0 must stay empty, its interrupt (GSI 24) never arrives.
//
// Timer, interrupt controller and clock of the PC are there by default: without
// them a kernel under TCG often hangs in the calibration of its TSC.
type Microvm struct {
	ACPI bool

	NoPIT bool // no i8254 timer
	NoPIC bool // no i8259 interrupt controller
	NoRTC bool // no mc146818 clock

	// NoAutoCmdline leaves the virtio_mmio.device= to the caller.
	NoAutoCmdline bool

	// Modern offers virtio 1.x on virtio-mmio. QEMU's default is version 1 of
	// the transport, virtio 0.9, which is what the oldest drivers know.
	Modern bool
}

func (m Microvm) Args() []string {
	opts := []string{
		"microvm",
		"acpi=" + onOff(m.ACPI),
		"pit=" + onOff(!m.NoPIT),
		"pic=" + onOff(!m.NoPIC),
		"rtc=" + onOff(!m.NoRTC),
	}
	if m.NoAutoCmdline {
		opts = append(opts, "auto-kernel-cmdline=off")
	}
	args := []string{"-M", strings.Join(opts, ",")}
	if m.Modern {
		args = append(args, "-global", "virtio-mmio.force-legacy=false")
	}
	return args
}

func (Microvm) KernelArgs() []string { return nil }

// MMIOSlots is how many virtio-mmio slots a microvm without a second IO-APIC
// has at least.
const MMIOSlots = 8

// MMIOSlot is the bus of one virtio-mmio slot. With Microvm.ACPI off, slots 0 and
// 1 have interrupts 5 and 6, as an enclave's two devices have.
func MMIOSlot(n int) string { return "virtio-mmio-bus." + strconv.Itoa(n) }

// I8042 is the keyboard controller. Nobody types on it: "reboot=k", which stock
// enclave kernels are booted with, resets the machine through it, and without
// one Linux falls through to a jump into the firmware, which under TCG runs wild
// in one reboot of ten.
type I8042 struct{}

func (I8042) Args() []string       { return []string{"-device", "i8042"} }
func (I8042) KernelArgs() []string { return nil }

// CPU is the guest's processors.
type CPU struct {
	Model string // such as "max"; see Accel.CPUModel
	Count int    // 1 to 255

	// Threads makes one socket of cores with so many threads each, and must divide
	// Count. 0 leaves QEMU's default, sockets of one core: there every core has the
	// id 0, and the nitro_enclaves driver, which counts in cores, finds only one.
	Threads int
}

func (c CPU) Args() []string {
	smp := strconv.Itoa(c.Count)
	if c.Threads > 0 {
		smp += fmt.Sprintf(",sockets=1,cores=%d,threads=%d", c.Count/c.Threads, c.Threads)
	}
	return []string{"-cpu", c.Model, "-smp", smp}
}

func (CPU) KernelArgs() []string { return nil }

// Validate implements [Validator].
func (c CPU) Validate() error {
	if c.Model == "" {
		return errors.New("CPU.Model is empty")
	}
	if c.Count < 1 || c.Count > 255 {
		return fmt.Errorf("CPU.Count is %d, must be 1 to 255", c.Count)
	}
	if c.Threads < 0 || c.Threads > 0 && c.Count%c.Threads != 0 {
		return fmt.Errorf("CPU.Threads is %d, must divide CPU.Count, %d", c.Threads, c.Count)
	}
	return nil
}

// memoryID is the id of the RAM's backend.
const memoryID = "ram"

// Memory is the guest's RAM.
type Memory struct {
	MiB int // 1 to 1048576

	// Shared puts it into a memfd, which QEMU hands to vhost-user and vfio-user
	// back ends. They cannot work without.
	Shared bool
}

func (m Memory) Args() []string {
	size := strconv.Itoa(m.MiB) + "M"
	if !m.Shared {
		return []string{"-m", size}
	}
	return append([]string{"-m", size},
		"-object", "memory-backend-memfd,id="+memoryID+",size="+size+",share=on",
		"-machine", "memory-backend="+memoryID)
}

func (Memory) KernelArgs() []string { return nil }

// Validate implements [Validator].
func (m Memory) Validate() error {
	const tebibyte = 1 << 20
	if m.MiB < 1 || m.MiB > tebibyte {
		return fmt.Errorf("Memory.MiB is %d, must be 1 to %d", m.MiB, tebibyte)
	}
	return nil
}

// MemoryFile is RAM in a file of the caller's, a memfd for instance, which sees
// all of it live. The file must have the size already.
type MemoryFile struct {
	MiB  int
	File *os.File
}

func (m MemoryFile) Args() []string { return Memory{MiB: m.MiB, Shared: true}.Args() }

func (MemoryFile) KernelArgs() []string { return nil }

// Files implements [Inheritor].
func (m MemoryFile) Files() []*os.File { return []*os.File{m.File} }

// FileArgs implements [Inheritor].
func (m MemoryFile) FileArgs(fds []int) []string {
	size := strconv.Itoa(m.MiB) + "M"
	return []string{
		"-m", size,
		"-object", fmt.Sprintf("memory-backend-file,id=%s,size=%s,mem-path=/proc/self/fd/%d,share=on", memoryID, size, fds[0]),
		"-machine", "memory-backend=" + memoryID,
	}
}

// Note implements [Inheritor].
func (MemoryFile) Note() string { return "RAM is a new memfd instead of the one that was inherited" }

// Validate implements [Validator].
func (m MemoryFile) Validate() error {
	if err := (Memory{MiB: m.MiB}).Validate(); err != nil {
		return err
	}
	if m.File == nil {
		return errors.New("MemoryFile.File is nil")
	}
	return nil
}
