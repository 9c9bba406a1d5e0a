package pci

import (
	"encoding/binary"
	"fmt"
)

// Extended capability IDs, PCI Code and ID Assignment Specification.
const (
	ExtSerialNumber = 0x0003
	ExtVendor       = 0x000b
	ExtDVSEC        = 0x0023
	ExtDOE          = 0x002e
)

// An ExtendedCapability is one of [SerialNumber], [DVSEC], [*DOE] and
// [RawExtended]. Those that do not ask for an offset follow each other in their
// order from 0x100. One of them has to lie at 0x100.
//
// A guest's VFIO hides IDs that its kernel does not know, such as DOE in Linux
// 6.12, but leaves their registers reachable: put another capability first and
// say in a DVSEC where they are.
type ExtendedCapability interface {
	extended(f *Function, field string) (block, error)
}

// A SerialNumber is the Device Serial Number capability, section 7.9.3: an EUI-64.
type SerialNumber uint64

func (n SerialNumber) extended(_ *Function, field string) (block, error) {
	return block{field: field, size: 12, id: ExtSerialNumber, fill: func(s *space, at int) {
		setVersion(s, at, 1)
		s.set64(at+extendedHeader, uint64(n))
	}}, nil
}

// A DVSEC is a Designated Vendor-Specific Extended Capability, section 7.9.6.
type DVSEC struct {
	Offset   uint16 // in configuration space; 0: chosen
	VendorID uint16
	ID       uint16
	Revision uint8 // 4 bits

	// Data follows the two headers, at byte 10 of the capability.
	Data     []byte
	Writable []byte // as in Capability
}

const dvsecHeader = 10

func (d DVSEC) extended(_ *Function, field string) (block, error) {
	size := dvsecHeader + len(d.Data)
	if d.Revision > 15 {
		return block{}, invalid(field+".Revision", "%d, want at most 15", d.Revision)
	}
	if len(d.Writable) > len(d.Data) {
		return block{}, invalid(field+".Writable", "%d bytes for %d bytes of Data", len(d.Writable), len(d.Data))
	}
	return block{field: field, at: int(d.Offset), size: size, id: ExtDVSEC, fill: func(s *space, at int) {
		setVersion(s, at, 1)
		s.set32(at+4, uint32(d.VendorID)|uint32(d.Revision)<<16|uint32(size)<<20)
		s.set16(at+8, d.ID)
		copy(s.bytes[at+dvsecHeader:], d.Data)
		copy(s.rw[at+dvsecHeader:], d.Writable)
	}}, nil
}

// A RawExtended is any other extended capability.
type RawExtended struct {
	Offset  uint16 // in configuration space; 0: chosen
	ID      uint16
	Version uint8 // 4 bits

	// Data follows the header; its length is a multiple of 4.
	Data     []byte
	Writable []byte // as in Capability; not with Registers

	// Registers, if not nil, answer for all of Data.
	Registers Registers
}

// Registers are 32-bit registers of a capability that do more than store. The
// Function calls them one at a time from the transport's goroutine.
type Registers interface {
	// Load returns the register at off, a multiple of 4 counted from the
	// capability's header. It has no side effects, because QEMU reads all of
	// configuration space at once.
	Load(off int) uint32

	// Store writes the bytes of value that mask has all bits of.
	Store(off int, value, mask uint32)
}

func (r RawExtended) extended(f *Function, field string) (block, error) {
	switch {
	case r.Version > 15:
		return block{}, invalid(field+".Version", "%d, want at most 15", r.Version)
	case len(r.Data)%4 != 0:
		return block{}, invalid(field+".Data", "%d bytes, want a multiple of 4", len(r.Data))
	case len(r.Writable) > len(r.Data):
		return block{}, invalid(field+".Writable", "%d bytes for %d bytes of Data", len(r.Writable), len(r.Data))
	case r.Registers != nil && r.Writable != nil:
		return block{}, invalid(field+".Writable", "not with Registers")
	}
	return block{field: field, at: int(r.Offset), size: extendedHeader + len(r.Data), id: r.ID, fill: func(s *space, at int) {
		setVersion(s, at, r.Version)
		copy(s.bytes[at+extendedHeader:], r.Data)
		copy(s.rw[at+extendedHeader:], r.Writable)
		if r.Registers != nil {
			f.windows = append(f.windows, registerWindow{at, at + extendedHeader, at + extendedHeader + len(r.Data), r.Registers})
		}
	}}, nil
}

func setVersion(s *space, at int, version uint8) { s.bytes[at+2] |= version & 15 }

// A registerWindow is the part of configuration space that Registers answer for.
type registerWindow struct {
	at         int // of the capability
	begin, end int
	regs       Registers
}

// extendedBlocks are all capabilities of cfg from 0x100 on.
func (f *Function) extendedBlocks(cfg *Config) ([]block, error) {
	var blocks []block
	for i, c := range cfg.Extended {
		field := fmt.Sprintf("Extended[%d]", i)
		if c == nil {
			return nil, invalid(field, "nil")
		}
		b, err := c.extended(f, field)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// lanes spreads p, at byte i of a 32-bit register, to value and mask of a Store.
func lanes(i int, p []byte) (value, mask uint32) {
	var v, m [4]byte
	for j := range p {
		v[i+j], m[i+j] = p[j], 0xff
	}
	return binary.LittleEndian.Uint32(v[:]), binary.LittleEndian.Uint32(m[:])
}
