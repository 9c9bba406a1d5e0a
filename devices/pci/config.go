package pci

// A Config describes a function. [New] checks it and does not keep its slices.
type Config struct {
	VendorID, DeviceID             uint16
	SubsystemVendorID, SubsystemID uint16

	// Class is base class, subclass and programming interface: 24 bits, such as
	// 0x010802 for NVMe.
	Class    uint32
	Revision uint8

	// BARs by index. One with Is64 takes the next index as well, which then has
	// to be zero.
	BARs [6]BAR

	// INTx gives the function interrupt pin A.
	INTx bool

	MSI  MSIConfig
	MSIX MSIXConfig

	// Express adds the PCI Express endpoint capability, with function level
	// reset, and makes the configuration space 4096 bytes large instead of 256.
	Express bool

	// Link is what the function says of its link if Express is set. It limits
	// nothing.
	Link Link

	// PowerManagement adds the states D0 and D3hot. As the function does not
	// claim No_Soft_Reset, going back to D0 resets it.
	PowerManagement bool

	// Capabilities come in addition to those that the fields above make.
	Capabilities []Capability

	// Extended capabilities; they need Express.
	Extended []ExtendedCapability

	// ForceBusMaster hardwires Bus Master Enable to 1. It is for drivers that
	// rely on it without ever setting it: QEMU under TCG sends no message of
	// MSI or MSI-X while the bit is clear in its copy, and a driver that reads,
	// changes and writes COMMAND carries the forced bit there.
	ForceBusMaster bool

	// Reset brings the device behind the function back to its state after
	// power-on. It is called on DEVICE_RESET, function level reset and on
	// leaving D3hot, when registers already have their reset values. DMA that
	// ran has ended, DMA begun meanwhile fails with ErrBusMaster. It must not
	// wait for the guest. Nil if there is nothing to reset.
	Reset func()

	// OnCommand is told when the driver changed COMMAND, other than by a reset.
	// The same rules hold as for Reset.
	OnCommand func(old, now Command)
}

// A Command is the value of the COMMAND register (section 7.5.1.1.3).
type Command uint16

// The bits of COMMAND that a driver may set. CommandIO and CommandMemory exist
// if the function has such BARs.
const (
	CommandIO          Command = 1 << 0
	CommandMemory      Command = 1 << 1
	CommandBusMaster   Command = 1 << 2
	CommandParity      Command = 1 << 6
	CommandSERR        Command = 1 << 8
	CommandINTxDisable Command = 1 << 10
)

// An MSIConfig asks for the MSI capability, with 64-bit addresses.
type MSIConfig struct {
	Vectors int  // 0: no MSI; else 1, 2, 4, 8, 16 or 32
	Masking bool // per-vector mask and pending bits
}

// An MSIXConfig asks for the MSI-X capability.
type MSIXConfig struct {
	Vectors int // 0: no MSI-X; at most 2048

	// BAR holds the table, 16 bytes a vector, at Table and the pending bits, one
	// a vector in whole 64-bit words, at PBA. It is a memory BAR that is not
	// backed by a file. Both offsets are multiples of 8. The function answers
	// there itself; the BAR's handler, which may be nil, never sees these bytes.
	BAR   int
	Table uint32
	PBA   uint32
}

// A Link is the speed and width of a PCI Express link.
type Link struct {
	Speed int // generation 1 to 6, 2.5 to 64 GT/s; 0 is 3
	Width int // lanes: 1, 2, 4, 8 or 16; 0 is 4
}
