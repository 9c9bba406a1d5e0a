package vfiousertest

import "encoding/binary"

// Commands of the protocol, written down a second time on purpose.
const (
	Version          = 1
	DMAMap           = 2
	DMAUnmap         = 3
	GetInfo          = 4
	GetRegionInfo    = 5
	GetRegionFDs     = 6
	GetIRQInfo       = 7
	SetIRQs          = 8
	RegionRead       = 9
	RegionWrite      = 10
	DMARead          = 11 // from the server
	DMAWrite         = 12 // from the server
	DeviceReset      = 13
	RegionWriteMulti = 15
	DeviceFeature    = 16
)

// Flags of a header.
const (
	FlagReply   = 0x1
	FlagNoReply = 0x10
	FlagError   = 0x20
)

// Regions and interrupt indices. BARs are regions 0 to 5.
const (
	ConfigSpace = 7

	INTx = 0
	MSI  = 1
	MSIX = 2
	Err  = 3
	Req  = 4
)

// Flags of SET_IRQS.
const (
	DataNone      = 0x01
	DataBool      = 0x02
	DataEventFD   = 0x04
	ActionMask    = 0x08
	ActionUnmask  = 0x10
	ActionTrigger = 0x20
)

const headerSize = 16

// Header returns the header of a message with a payload of n bytes.
func Header(id, command uint16, n int, flags uint32) []byte {
	b := binary.LittleEndian.AppendUint16(nil, id)
	b = binary.LittleEndian.AppendUint16(b, command)
	return U32(b, uint32(headerSize+n), flags, 0)
}

// U32 appends numbers to a payload.
func U32(b []byte, vs ...uint32) []byte {
	for _, v := range vs {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// U64 appends numbers to a payload.
func U64(b []byte, vs ...uint64) []byte {
	for _, v := range vs {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

// Access is the payload of a REGION_READ or REGION_WRITE without its data.
func Access(region uint32, off uint64, count uint32) []byte {
	return U32(U64(nil, off), region, count)
}
