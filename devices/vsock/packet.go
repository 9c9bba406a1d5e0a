package vsock

import (
	"encoding/binary"
	"fmt"
)

// HeaderSize is the length of struct virtio_vsock_hdr in bytes, virtio 1.2
// section 5.10.6. The payload follows directly.
const HeaderSize = 44

// MaxPayload is the largest payload that we put into one packet. Linux sends
// no more either (VIRTIO_VSOCK_MAX_PKT_BUF_SIZE).
const MaxPayload = 64 << 10

// An Op says what a packet is for, virtio 1.2 section 5.10.6.
type Op uint16

// The operations. Zero is invalid.
const (
	OpRequest       Op = 1 // connect
	OpResponse      Op = 2 // connected
	OpRST           Op = 3 // refused, reset, or the answer to a full SHUTDOWN
	OpShutdown      Op = 4 // flags say what the sender will no longer do
	OpRW            Op = 5 // payload
	OpCreditUpdate  Op = 6 // buf_alloc and fwd_cnt, nothing else
	OpCreditRequest Op = 7 // asks for OpCreditUpdate
)

var opNames = [...]string{"INVALID", "REQUEST", "RESPONSE", "RST", "SHUTDOWN", "RW", "CREDIT_UPDATE", "CREDIT_REQUEST"}

// String is the name in the specification without its prefix.
func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return fmt.Sprintf("op(%d)", uint16(o))
}

// Socket types, virtio 1.2 section 5.10.6. Only streams are served.
const (
	TypeStream    uint16 = 1
	TypeSeqpacket uint16 = 2
)

// Flags of [OpShutdown], virtio 1.2 section 5.10.6.6. They accumulate over the
// life of a connection.
const (
	ShutdownReceive uint32 = 1 // the sender of the packet will not receive any more
	ShutdownSend    uint32 = 2 // the sender of the packet will not send any more

	shutdownBoth = ShutdownReceive | ShutdownSend
)

// A Header is struct virtio_vsock_hdr, virtio 1.2 section 5.10.6. All fields
// are little-endian on the wire.
type Header struct {
	SrcCID   uint64 // upper 32 bits are reserved and zero
	DstCID   uint64 // likewise
	SrcPort  uint32
	DstPort  uint32
	Len      uint32 // payload bytes after the header
	Type     uint16
	Op       Op
	Flags    uint32
	BufAlloc uint32 // bytes of buffer the sender has for this connection
	FwdCnt   uint32 // bytes the sender's application took out of it, modulo 2^32
}

// wellFormed reports whether a packet of size bytes is one of the specification,
// as far as its header says.
func (h *Header) wellFormed(size int) bool {
	return uint64(h.Len) == uint64(size-HeaderSize) && (h.Len == 0 || h.Op == OpRW) &&
		h.Op >= OpRequest && h.Op <= OpCreditRequest
}

// Encode writes h in wire form.
func (h *Header) Encode(b *[HeaderSize]byte) {
	le := binary.LittleEndian
	le.PutUint64(b[0:], h.SrcCID)
	le.PutUint64(b[8:], h.DstCID)
	le.PutUint32(b[16:], h.SrcPort)
	le.PutUint32(b[20:], h.DstPort)
	le.PutUint32(b[24:], h.Len)
	le.PutUint16(b[28:], h.Type)
	le.PutUint16(b[30:], uint16(h.Op))
	le.PutUint32(b[32:], h.Flags)
	le.PutUint32(b[36:], h.BufAlloc)
	le.PutUint32(b[40:], h.FwdCnt)
}

// Decode reads h from wire form. Any 44 bytes are a header; what they mean is
// checked by whoever acts on it.
func (h *Header) Decode(b *[HeaderSize]byte) {
	le := binary.LittleEndian
	h.SrcCID = le.Uint64(b[0:])
	h.DstCID = le.Uint64(b[8:])
	h.SrcPort = le.Uint32(b[16:])
	h.DstPort = le.Uint32(b[20:])
	h.Len = le.Uint32(b[24:])
	h.Type = le.Uint16(b[28:])
	h.Op = Op(le.Uint16(b[30:]))
	h.Flags = le.Uint32(b[32:])
	h.BufAlloc = le.Uint32(b[36:])
	h.FwdCnt = le.Uint32(b[40:])
}
