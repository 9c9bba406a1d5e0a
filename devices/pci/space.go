package pci

import "encoding/binary"

// A space is a configuration space as bytes, with what a write may do to each bit.
type space struct {
	bytes []byte
	rw    []byte // bits that take the value written
	rw1c  []byte // bits that a written 1 clears; disjoint from rw
	reset []byte // bytes after a reset
}

func newSpace(size int) *space {
	return &space{
		bytes: make([]byte, size), rw: make([]byte, size),
		rw1c: make([]byte, size), reset: make([]byte, size),
	}
}

// freeze makes the present content the one after a reset.
func (s *space) freeze() { copy(s.reset, s.bytes) }

// write changes the bytes at off as a driver's write of p does.
func (s *space) write(off int, p []byte) {
	for i, v := range p {
		i += off
		s.bytes[i] = (s.bytes[i]&^s.rw[i] | v&s.rw[i]) &^ (v & s.rw1c[i])
	}
}

func (s *space) get16(off int) uint16 { return binary.LittleEndian.Uint16(s.bytes[off:]) }
func (s *space) get32(off int) uint32 { return binary.LittleEndian.Uint32(s.bytes[off:]) }

func (s *space) set16(off int, v uint16) { binary.LittleEndian.PutUint16(s.bytes[off:], v) }
func (s *space) set32(off int, v uint32) { binary.LittleEndian.PutUint32(s.bytes[off:], v) }
func (s *space) set64(off int, v uint64) { binary.LittleEndian.PutUint64(s.bytes[off:], v) }

func (s *space) writable16(off int, mask uint16) { binary.LittleEndian.PutUint16(s.rw[off:], mask) }
func (s *space) writable32(off int, mask uint32) { binary.LittleEndian.PutUint32(s.rw[off:], mask) }

func (s *space) clearable16(off int, mask uint16) { binary.LittleEndian.PutUint16(s.rw1c[off:], mask) }
