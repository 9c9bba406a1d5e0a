package enclaves

import (
	"encoding/binary"
	"fmt"
	"syscall"
)

// ReplySize is the size of a reply in bytes.
const ReplySize = 72

// A Reply is what the device answers to any command (struct
// ne_pci_dev_cmd_reply). Fields that do not belong to the command are 0, and
// all but RC are 0 if it failed.
type Reply struct {
	RC         int32  // negative errno of Linux; else the command succeeded
	SlotUID    uint64 // all commands but SLOT_COUNT
	CID        uint64 // ENCLAVE_START
	SlotCount  uint64 // SLOT_COUNT
	MemRegions uint64 // SLOT_ALLOC: most that the slot takes; SLOT_INFO: those it has
	MemSize    uint64 // SLOT_INFO, bytes
	VCPUs      uint64 // SLOT_INFO
	Flags      uint64 // SLOT_INFO: those of ENCLAVE_START
	State      State  // SLOT_INFO
}

// Err is nil, or the [syscall.Errno] that RC stands for.
func (r Reply) Err() error {
	if r.RC < 0 {
		return syscall.Errno(-int64(r.RC))
	}
	return nil
}

// AppendTo appends the reply's [ReplySize] bytes.
func (r Reply) AppendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(r.RC))
	b = append(b, 0, 0, 0, 0)
	b = append64(b, r.SlotUID, r.CID, r.SlotCount, r.MemRegions, r.MemSize, r.VCPUs, r.Flags)
	return append64(b, uint64(r.State)) // the upper 6 bytes are padding
}

// ParseReply is the reply at the beginning of b.
func ParseReply(b []byte) (Reply, error) {
	if len(b) < ReplySize {
		return Reply{}, fmt.Errorf("parse reply: %d bytes, want %d", len(b), ReplySize)
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	return Reply{
		RC:         int32(uint32(word(0))),
		SlotUID:    word(1),
		CID:        word(2),
		SlotCount:  word(3),
		MemRegions: word(4),
		MemSize:    word(5),
		VCPUs:      word(6),
		Flags:      word(7),
		State:      State(word(8)),
	}, nil
}
