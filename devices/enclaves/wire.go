package enclaves

import "strconv"

// Identity of the function (parent-devices.md 1.1). Class, subsystem and the
// place of the MSI-X table are not known of real hardware; no driver looks.
const (
	VendorID = 0x1d0f // Amazon
	DeviceID = 0xe4c1
	Class    = 0x088000 // system peripheral, other

	// RegisterBAR holds the registers. Linux maps this one (PCI_BAR_NE).
	RegisterBAR = 3
	// VectorBAR holds the MSI-X table at 0 and its pending bits at 0x800.
	VectorBAR = 0
	// BARSize is the size of both, in bytes; the highest register byte is
	// 0x1ef.
	BARSize = 4096
)

// Registers in [RegisterBAR], little endian (ne_pci_dev.h).
const (
	RegEnable  = 0x000 // 1 byte, read and write: 0 off, 1 on or still on
	RegVersion = 0x002 // 2 bytes, read and write
	RegCommand = 0x004 // 4 bytes, write only: a Command
	RegEvents  = 0x00c // 4 bytes, read only: replies in 15:0, events in 31:16
	RegSend    = 0x010 // request, SendSize bytes, read and write
	RegReceive = 0x100 // reply, ReceiveSize bytes, read only

	SendSize    = 240
	ReceiveSize = 240
)

// Version is the only version of the interface that there is.
const Version = 1

// MSI-X vectors.
const (
	// VectorReply follows each reply, once it can be read at RegReceive.
	VectorReply = 0
	// VectorEvent says that an enclave ended without a command.
	VectorEvent = 1
	// Vectors is their number. Linux allocates as many as the table has and
	// uses these two.
	Vectors = 2
)

// A Command is a number for RegCommand.
type Command uint32

// The commands (enum ne_pci_dev_cmd_type). Linux sends all but GetSlot,
// SlotCount, NextSlot and AddBulkVCPUs.
const (
	EnclaveStart Command = 1 + iota
	EnclaveGetSlot
	EnclaveStop
	SlotAlloc
	SlotFree
	SlotAddMem
	SlotAddVCPU
	SlotCount
	NextSlot
	SlotInfo
	SlotAddBulkVCPUs
)

// lastCommand is the highest command number.
const lastCommand = SlotAddBulkVCPUs

var commands = [lastCommand + 1]struct {
	name string
	size int
}{
	EnclaveStart:     {"ENCLAVE_START", 24},
	EnclaveGetSlot:   {"ENCLAVE_GET_SLOT", 8},
	EnclaveStop:      {"ENCLAVE_STOP", 8},
	SlotAlloc:        {"SLOT_ALLOC", 1},
	SlotFree:         {"SLOT_FREE", 8},
	SlotAddMem:       {"SLOT_ADD_MEM", 24},
	SlotAddVCPU:      {"SLOT_ADD_VCPU", 16},
	SlotCount:        {"SLOT_COUNT", 1},
	NextSlot:         {"NEXT_SLOT", 8},
	SlotInfo:         {"SLOT_INFO", 8},
	SlotAddBulkVCPUs: {"SLOT_ADD_BULK_VCPUS", 16},
}

// String is the command's name in the Linux driver.
func (c Command) String() string {
	if c == 0 || c > lastCommand {
		return "command " + strconv.FormatUint(uint64(c), 10)
	}
	return commands[c].name
}

// RequestSize is the size of the command's request in bytes, 0 if there is no
// such command.
func (c Command) RequestSize() int {
	if c > lastCommand {
		return 0
	}
	return commands[c].size
}

// A State is the state of a slot as SLOT_INFO reports it. There may be more on
// real hardware; Linux knows these.
type State uint16

const (
	StateInit    State = 0      // takes memory and CPUs
	StateRunning State = 2      // the enclave runs
	StateStopped State = 0xffff // it ended, by a command or by itself
)

// String is the state's name in the Linux driver, in small letters.
func (s State) String() string {
	switch s {
	case StateInit:
		return "init"
	case StateRunning:
		return "running"
	case StateStopped:
		return "stopped"
	}
	return "state " + strconv.FormatUint(uint64(s), 16)
}

// FlagDebug in the flags of ENCLAVE_START starts an enclave in debug mode
// (NE_ENCLAVE_DEBUG_MODE). There is no other flag.
const FlagDebug = 1

// Context ids that no enclave can have (vsock(7); the parent is always 3).
const (
	cidParent = 3
	cidAny    = 1<<32 - 1
)

// Granule is the alignment, and the least size, of donated memory in bytes:
// NE_MIN_MEM_REGION_SIZE of the driver.
const Granule = 2 << 20

// ImageOffset is where the enclave image begins in the donated memory, seen as
// one piece in the order of donation; the driver tells it to user space in
// NE_GET_IMAGE_LOAD_INFO.
const ImageOffset = 8 << 20
