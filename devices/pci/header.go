package pci

// Registers of a type 0 header, section 7.5.1.
const (
	regVendorID      = 0x00
	regDeviceID      = 0x02
	regCommand       = 0x04
	regStatus        = 0x06
	regRevision      = 0x08 // and the class code in the three bytes above
	regCacheLine     = 0x0c
	regBAR0          = 0x10
	regSubsystem     = 0x2c
	regCapabilities  = 0x34
	regInterruptLine = 0x3c
	regInterruptPin  = 0x3d

	headerSize = 0x40
)

// Bits of STATUS.
const (
	statusInterrupt    = 1 << 3
	statusCapabilities = 1 << 4
	statusMasterAbort  = 1 << 13 // Received Master Abort

	// Master Data Parity Error, Signaled and Received Target Abort, Received
	// Master Abort, Signaled System Error, Detected Parity Error.
	statusClearable = 0xf900
)

// layOutHeader writes all of the header but the BARs and the capability pointer.
func layOutHeader(s *space, cfg *Config) {
	s.set16(regVendorID, cfg.VendorID)
	s.set16(regDeviceID, cfg.DeviceID)
	s.set32(regRevision, cfg.Class<<8|uint32(cfg.Revision))
	s.set16(regSubsystem, cfg.SubsystemVendorID)
	s.set16(regSubsystem+2, cfg.SubsystemID)

	s.writable16(regCommand, uint16(cfg.commandBits()))
	s.clearable16(regStatus, statusClearable)
	// Software's scratch space; no function looks at it.
	s.rw[regCacheLine] = 0xff
	s.rw[regInterruptLine] = 0xff
	if cfg.INTx {
		s.bytes[regInterruptPin] = 1
	}
	if cfg.ForceBusMaster {
		s.set16(regCommand, uint16(CommandBusMaster))
	}
}

// commandBits are the bits of COMMAND that a driver can change.
func (cfg *Config) commandBits() Command {
	c := CommandParity | CommandSERR | CommandBusMaster | CommandINTxDisable
	if cfg.ForceBusMaster {
		c &^= CommandBusMaster
	}
	for i := range cfg.BARs {
		switch b := &cfg.BARs[i]; {
		case b.Size == 0:
		case b.IO:
			c |= CommandIO
		default:
			c |= CommandMemory
		}
	}
	return c
}
