package vfiouser

import (
	"encoding/binary"

	"github.com/nitrolab/nitrolab/devices/internal/scm"
)

// A message is one that was received. It is valid until the next.
type message struct {
	id      uint16
	command command
	flags   uint32
	errno   uint32
	payload []byte
	fds     scm.List
	fdErr   error // why fds are not all that were sent
}

// parse takes the header apart, which must be complete.
func (m *message) parse(h []byte) (size uint32) {
	m.id = binary.LittleEndian.Uint16(h[0:])
	m.command = command(binary.LittleEndian.Uint16(h[2:]))
	m.flags = binary.LittleEndian.Uint32(h[8:])
	m.errno = binary.LittleEndian.Uint32(h[12:])
	return binary.LittleEndian.Uint32(h[4:])
}

func (m *message) isReply() bool { return m.flags&flagType == flagReply }

func (m *message) wantsReply() bool { return m.flags&flagNoReply == 0 }

// putHeader writes the header of a message whose size is len(b).
func putHeader(b []byte, id uint16, c command, flags, errno uint32) {
	binary.LittleEndian.PutUint16(b[0:], id)
	binary.LittleEndian.PutUint16(b[2:], uint16(c))
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	binary.LittleEndian.PutUint32(b[8:], flags)
	binary.LittleEndian.PutUint32(b[12:], errno)
}

// Fields of payloads.

func (m *message) u32(off int) uint32 { return binary.LittleEndian.Uint32(m.payload[off:]) }

func (m *message) u64(off int) uint64 { return binary.LittleEndian.Uint64(m.payload[off:]) }

func append32(b []byte, vs ...uint32) []byte {
	for _, v := range vs {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func append64(b []byte, vs ...uint64) []byte {
	for _, v := range vs {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}
