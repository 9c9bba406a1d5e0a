package pci

import "fmt"

// Capability IDs, section 7.5.3 and the PCI Code and ID Assignment Specification.
const (
	CapPowerManagement = 0x01
	CapMSI             = 0x05
	CapVendor          = 0x09
	CapExpress         = 0x10
	CapMSIX            = 0x11
)

// A Capability is one that the Function only stores.
type Capability struct {
	ID     uint8
	Offset uint8 // in configuration space, a multiple of 4 from 0x40; 0: chosen

	// Data follows the two bytes of header.
	Data []byte

	// Writable has a 1 for every bit of Data that a driver can change; it may be
	// shorter than Data. A reset brings Data back.
	Writable []byte
}

// VendorCapability returns a vendor-specific capability (0x09), whose third byte
// is its length: data follows that byte. data is at most 252 bytes long.
func VendorCapability(data []byte) Capability {
	length := min(len(data)+3, 255) // more does not fit anyway, and New says so
	return Capability{ID: CapVendor, Data: append([]byte{byte(length)}, data...)}
}

// block checks c, the one at index i of Config.Capabilities.
func (c *Capability) block(i int) (block, error) {
	field := fmt.Sprintf("Capabilities[%d]", i)
	switch c.ID {
	case 0:
		return block{}, invalid(field+".ID", "0 is not a capability")
	case CapPowerManagement, CapMSI, CapExpress, CapMSIX:
		return block{}, invalid(field+".ID", "%#x has a field of its own in Config", c.ID)
	}
	if len(c.Writable) > len(c.Data) {
		return block{}, invalid(field+".Writable", "%d bytes for %d bytes of Data", len(c.Writable), len(c.Data))
	}
	return block{
		field: field, at: int(c.Offset), size: 2 + len(c.Data), id: uint16(c.ID),
		fill: func(s *space, at int) {
			copy(s.bytes[at+2:], c.Data)
			copy(s.rw[at+2:], c.Writable)
		},
	}, nil
}

// standardBlocks are all capabilities of cfg below 0x100, in the order in which
// they get their places.
func (f *Function) standardBlocks(cfg *Config) ([]block, error) {
	var blocks []block
	if cfg.PowerManagement {
		blocks = append(blocks, f.power.block())
	}
	if cfg.Express {
		b, err := f.express.block(cfg.Link)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	if cfg.MSI != (MSIConfig{}) {
		b, err := f.msi.block(cfg.MSI)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	if cfg.MSIX != (MSIXConfig{}) {
		b, err := f.msix.block(cfg)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	for i := range cfg.Capabilities {
		b, err := cfg.Capabilities[i].block(i)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}
