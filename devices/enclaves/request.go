package enclaves

import "encoding/binary"

// A Request is the payload of one command. AppendTo appends its bytes, as many
// as [Command.RequestSize] says.
type Request interface {
	AppendTo(b []byte) []byte
}

// A StartRequest is the payload of ENCLAVE_START (struct enclave_start_req).
type StartRequest struct {
	SlotUID uint64
	CID     uint64 // 0 lets the device choose
	Flags   uint64 // FlagDebug
}

// A GetSlotRequest is the payload of ENCLAVE_GET_SLOT.
type GetSlotRequest struct{ CID uint64 }

// A SlotRequest names a slot. It is the payload of ENCLAVE_STOP, SLOT_FREE,
// NEXT_SLOT and SLOT_INFO.
type SlotRequest struct{ SlotUID uint64 }

// An EmptyRequest is the payload of SLOT_ALLOC and SLOT_COUNT: one byte
// without meaning.
type EmptyRequest struct{}

// An AddMemRequest is the payload of SLOT_ADD_MEM (struct slot_add_mem_req).
type AddMemRequest struct {
	SlotUID uint64
	Region  Region
}

// An AddVCPURequest is the payload of SLOT_ADD_VCPU. VCPU is the number that
// the parent's kernel has for the CPU.
type AddVCPURequest struct {
	SlotUID uint64
	VCPU    uint32
}

// An AddBulkVCPUsRequest is the payload of SLOT_ADD_BULK_VCPUS: the device
// chooses Count CPUs.
type AddBulkVCPUsRequest struct {
	SlotUID uint64
	Count   uint64
}

// AppendTo implements [Request].
func (r StartRequest) AppendTo(b []byte) []byte { return append64(b, r.SlotUID, r.CID, r.Flags) }

// AppendTo implements [Request].
func (r GetSlotRequest) AppendTo(b []byte) []byte { return append64(b, r.CID) }

// AppendTo implements [Request].
func (r SlotRequest) AppendTo(b []byte) []byte { return append64(b, r.SlotUID) }

// AppendTo implements [Request].
func (EmptyRequest) AppendTo(b []byte) []byte { return append(b, 0) }

// AppendTo implements [Request].
func (r AddMemRequest) AppendTo(b []byte) []byte {
	return append64(b, r.SlotUID, r.Region.Addr, r.Region.Size)
}

// AppendTo implements [Request].
func (r AddVCPURequest) AppendTo(b []byte) []byte {
	return append64(b, r.SlotUID, uint64(r.VCPU)) // the upper half is padding
}

// AppendTo implements [Request].
func (r AddBulkVCPUsRequest) AppendTo(b []byte) []byte { return append64(b, r.SlotUID, r.Count) }

func append64(b []byte, words ...uint64) []byte {
	for _, w := range words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// A sendBuffer is the content of RegSend. A request never has a length: what
// the driver did not write is left of an earlier one.
type sendBuffer [SendSize]byte

func (b *sendBuffer) word(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }

func (b *sendBuffer) start() StartRequest {
	return StartRequest{SlotUID: b.word(0), CID: b.word(1), Flags: b.word(2)}
}

func (b *sendBuffer) getSlot() GetSlotRequest { return GetSlotRequest{CID: b.word(0)} }

func (b *sendBuffer) slot() SlotRequest { return SlotRequest{SlotUID: b.word(0)} }

func (b *sendBuffer) addMem() AddMemRequest {
	return AddMemRequest{SlotUID: b.word(0), Region: Region{Addr: b.word(1), Size: b.word(2)}}
}

func (b *sendBuffer) addVCPU() AddVCPURequest {
	return AddVCPURequest{SlotUID: b.word(0), VCPU: uint32(b.word(1))}
}

func (b *sendBuffer) addBulkVCPUs() AddBulkVCPUsRequest {
	return AddBulkVCPUsRequest{SlotUID: b.word(0), Count: b.word(1)}
}
