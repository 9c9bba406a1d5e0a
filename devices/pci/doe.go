package pci

import "fmt"

// A DOE is a Data Object Exchange mailbox, an extended capability (sections 6.30
// and 7.9.24): a requester writes a data object of some protocol word by word and
// reads back the object that answers it. The discovery protocol is built in.
type DOE struct {
	Offset uint16 // in configuration space; 0: chosen

	// Protocols besides discovery. The mailbox lists them in this order.
	Protocols []DOEProtocol

	// Interrupt offers the mailbox's interrupt, which is message number Vector of
	// MSI or MSI-X.
	Interrupt bool
	Vector    int

	// MaxObject bounds objects in both directions, in bytes with their header of
	// 8: a multiple of 4 up to 1 MiB, which is as long as one can be. 0 is 16 KiB.
	MaxObject int
}

// A DOEProtocol is one data object type and who answers it.
type DOEProtocol struct {
	Vendor uint16 // 0x0001 is PCI-SIG
	Type   uint8

	// Handle answers one object, which is in x. It runs on the transport's
	// goroutine and must not block: long work goes on on another goroutine, while
	// the mailbox says Busy. It ends in exactly one of x.Respond, x.Discard and
	// x.Fail. There is one exchange at a time.
	Handle func(x *Exchange)
}

// Vendor and types of PCI-SIG data objects, section 6.30 and DSP0275.
const (
	DOEVendorPCISIG     = 0x0001
	DOETypeDiscovery    = 0
	DOETypeSPDM         = 1 // CMA-SPDM
	DOETypeSecuredSPDM  = 2
	doeHeaderBytes      = 8
	doeMaxBytes         = 1 << 20 // 2^18 words
	doeDefaultBytes     = 16 << 10
	doeSize             = 0x18
	doeMaxProtocols     = 255 // the index of discovery has 8 bits; 0 is discovery
	doeMaxMessageNumber = 2047
)

func (d *DOE) extended(f *Function, field string) (block, error) {
	limit := d.MaxObject
	if limit == 0 {
		limit = doeDefaultBytes
	}
	switch {
	case limit%4 != 0 || limit < doeHeaderBytes+4 || limit > doeMaxBytes:
		return block{}, invalid(field+".MaxObject", "%d, want a multiple of 4 from 12 to %d", d.MaxObject, doeMaxBytes)
	case len(d.Protocols) > doeMaxProtocols:
		return block{}, invalid(field+".Protocols", "%d, want at most %d", len(d.Protocols), doeMaxProtocols)
	case d.Interrupt && (d.Vector < 0 || d.Vector > doeMaxMessageNumber || d.Vector >= max(f.msi.vectors, f.msix.vectors)):
		return block{}, invalid(field+".Vector", "%d is not a message of the function", d.Vector)
	}
	m := &mailbox{f: f, limit: limit / 4, interrupt: d.Interrupt, vector: d.Vector}
	m.protocols = append(m.protocols, DOEProtocol{DOEVendorPCISIG, DOETypeDiscovery, m.discover})
	for i, p := range d.Protocols {
		name := fmt.Sprintf("%s.Protocols[%d]", field, i)
		if p.Handle == nil {
			return block{}, invalid(name+".Handle", "nil")
		}
		if m.find(p.Vendor, p.Type) != nil {
			return block{}, invalid(name, "vendor %#04x type %d is there already", p.Vendor, p.Type)
		}
		m.protocols = append(m.protocols, p)
	}
	return block{field: field, at: int(d.Offset), size: doeSize, id: ExtDOE, fill: func(s *space, at int) {
		setVersion(s, at, 1)
		f.windows = append(f.windows, registerWindow{at, at + extendedHeader, at + doeSize, m})
		f.mailboxes = append(f.mailboxes, m)
	}}, nil
}

// find returns the protocol of an object, or nil.
func (m *mailbox) find(vendor uint16, kind uint8) *DOEProtocol {
	for i := range m.protocols {
		if p := &m.protocols[i]; p.Vendor == vendor && p.Type == kind {
			return p
		}
	}
	return nil
}

// discover answers the discovery protocol (section 6.30.1.1): the request's low
// byte is the index asked for, the answer has vendor, type and the next index, 0
// after the last. An index beyond the last gets vendor 0xffff.
func (m *mailbox) discover(x *Exchange) {
	if len(x.Request) != 4 {
		x.Discard()
		return
	}
	answer := []byte{0xff, 0xff, 0xff, 0}
	if i := int(x.Request[0]); i < len(m.protocols) {
		p := &m.protocols[i]
		next := (i + 1) % len(m.protocols)
		answer = []byte{byte(p.Vendor), byte(p.Vendor >> 8), p.Type, byte(next)}
	}
	// Three words are never too long, and the exchange may have been aborted.
	_ = x.Respond(answer)
}
