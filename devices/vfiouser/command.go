package vfiouser

import "fmt"

// A command is the type of a message (vfio-user specification, "Commands").
type command uint16

const (
	cmdVersion       command = 1
	cmdDMAMap        command = 2
	cmdDMAUnmap      command = 3
	cmdGetInfo       command = 4
	cmdGetRegionInfo command = 5
	cmdGetRegionFDs  command = 6
	cmdGetIRQInfo    command = 7
	cmdSetIRQs       command = 8
	cmdRegionRead    command = 9
	cmdRegionWrite   command = 10
	cmdDMARead       command = 11 // the server asks
	cmdDMAWrite      command = 12 // the server asks
	cmdReset         command = 13
	cmdWriteMulti    command = 15
	cmdFeature       command = 16
)

// Header of a message: id u16, command u16, size u32 with the header, flags u32,
// errno u32; little-endian on the hosts nitrolab runs on (the protocol says native).
const (
	headerSize = 16

	flagType    = 0xf // 0 command, 1 reply
	flagReply   = 0x1
	flagNoReply = 0x10
	flagError   = 0x20
)

// Sizes of payloads.
const (
	sizeVersion    = 4  // major u16, minor u16; then JSON and NUL
	sizeDMAMap     = 32 // argsz u32, flags u32, offset u64, address u64, size u64
	sizeDMAUnmap   = 24 // argsz u32, flags u32, address u64, size u64
	sizeInfo       = 16 // argsz, flags, regions, interrupts: u32 each
	sizeRegionInfo = 32 // argsz, flags, index, cap offset: u32 each; size u64, offset u64
	sizeRegionFDs  = 16 // argsz, flags, index, count: u32 each
	sizeIRQInfo    = 16 // argsz, flags, index, count: u32 each
	sizeSetIRQs    = 20 // argsz, flags, index, start, count: u32 each; then booleans
	sizeRegion     = 16 // offset u64, region u32, count u32; then data
	sizeMulti      = 8  // number of writes u64; then the writes
	sizeMultiWrite = 24 // offset u64, region u32, count u32, data [8]u8
	sizeDMA        = 16 // address u64, count u64; then data
)

const (
	// maxTransfer bounds the data of one message. It is the protocol's default
	// for max_data_xfer_size, so that it need not be negotiated.
	maxTransfer = 1 << 20

	maxMessage = headerSize + sizeRegion + maxTransfer

	// maxFDs is how many descriptors come with a message at most: those of
	// SET_IRQS, which clients cut into pieces of max_msg_fds. QEMU refuses more.
	maxFDs = 16
)

// Regions, numbered as in VFIO for PCI.
const (
	numBARs      = 6
	regionROM    = 6
	regionConfig = 7
	regionVGA    = 8
	numRegions   = 9
)

// Interrupts, numbered as in VFIO for PCI.
const (
	irqINTx = 0
	irqMSI  = 1
	irqMSIX = 2
	irqErr  = 3 // a signal on it makes QEMU stop the machine; nobody sends one
	irqReq  = 4 // asks to release the device; likewise
	numIRQs = 5
)

// A kind is what is known of a command before looking into it.
type kind struct {
	min    int // payload bytes
	fds    int // at most
	handle func(*session, *message) error
}

// kinds are the commands that are served, by number. A handler appends the payload
// of its reply to session.out.
var kinds = [...]kind{
	cmdVersion:       {sizeVersion, 0, (*session).version},
	cmdDMAMap:        {sizeDMAMap, 1, (*session).dmaMap},
	cmdDMAUnmap:      {sizeDMAUnmap, 0, (*session).dmaUnmap},
	cmdGetInfo:       {sizeInfo, 0, (*session).getInfo},
	cmdGetRegionInfo: {sizeRegionInfo, 0, (*session).getRegionInfo},
	cmdGetRegionFDs:  {sizeRegionFDs, 0, (*session).getRegionFDs},
	cmdGetIRQInfo:    {sizeIRQInfo, 0, (*session).getIRQInfo},
	cmdSetIRQs:       {sizeSetIRQs, maxFDs, (*session).setIRQs},
	cmdRegionRead:    {sizeRegion, 0, (*session).regionRead},
	cmdRegionWrite:   {sizeRegion, 0, (*session).regionWrite},
	cmdReset:         {0, 0, (*session).reset},
	cmdWriteMulti:    {sizeMulti, 0, (*session).writeMulti},
	cmdFeature:       {0, 0, (*session).feature},
}

// names are the commands of the protocol, served or not, by number.
var names = [...]string{
	1: "VERSION", "DMA_MAP", "DMA_UNMAP", "DEVICE_GET_INFO", "DEVICE_GET_REGION_INFO", "DEVICE_GET_REGION_IO_FDS",
	"DEVICE_GET_IRQ_INFO", "DEVICE_SET_IRQS", "REGION_READ", "REGION_WRITE", "DMA_READ", "DMA_WRITE", "DEVICE_RESET",
	"DIRTY_PAGES", "REGION_WRITE_MULTI", "DEVICE_FEATURE", "MIG_DATA_READ", "MIG_DATA_WRITE",
}

func (c command) String() string {
	if int(c) < len(names) && names[c] != "" {
		return names[c]
	}
	return fmt.Sprintf("command %d", uint16(c))
}
