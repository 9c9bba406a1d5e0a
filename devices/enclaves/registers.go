package enclaves

import (
	"context"
	"encoding/binary"
)

// registers is the content of RegisterBAR, apart from what Device.power shows.
type registers struct {
	version uint16 // as negotiated: 0 or Version
	replies uint16 // RegEvents 15:0
	events  uint16 // RegEvents 31:16
	send    sendBuffer
	receive [ReceiveSize]byte
}

// registerBAR is the Device as handler of RegisterBAR. Registers can be read
// in any width, which only shows bytes, but are written in their own width only.
// The request can be written in any: drivers copy it with memcpy_toio.
type registerBAR Device

// ReadBAR implements pci.Handler.
func (h *registerBAR) ReadBAR(offset uint64, p []byte) {
	d := (*Device)(h)
	d.mu.Lock()
	defer d.mu.Unlock()
	var head [RegSend]byte // the registers below the request
	if offset < RegSend {
		if d.power != off {
			head[RegEnable] = 1
		}
		version := d.regs.version
		if d.faults.Version != 0 && version != 0 {
			version = d.faults.Version
		}
		binary.LittleEndian.PutUint16(head[RegVersion:], version)
		binary.LittleEndian.PutUint16(head[RegEvents:], d.regs.replies)
		binary.LittleEndian.PutUint16(head[RegEvents+2:], d.regs.events)
	}
	for i := range p {
		switch at := offset + uint64(i); {
		case at < RegSend:
			p[i] = head[at]
		case at < RegSend+SendSize:
			p[i] = d.regs.send[at-RegSend]
		case at >= RegReceive && at < RegReceive+ReceiveSize:
			p[i] = d.regs.receive[at-RegReceive]
		default:
			p[i] = 0
		}
	}
}

// WriteBAR implements pci.Handler.
func (h *registerBAR) WriteBAR(offset uint64, p []byte) {
	d := (*Device)(h)
	d.mu.Lock()
	defer d.mu.Unlock()
	n := uint64(len(p))
	switch {
	case offset == RegEnable && n == 1:
		d.enable(p[0])
	case offset == RegVersion && n == 2:
		d.setVersion(binary.LittleEndian.Uint16(p))
	case offset == RegCommand && n == 4:
		d.command(Command(binary.LittleEndian.Uint32(p)))
	case offset >= RegSend && offset < RegSend+SendSize && n <= RegSend+SendSize-offset:
		copy(d.regs.send[offset-RegSend:], p)
	default:
		d.log.Debug("write to no register", "offset", offset, "bytes", n)
	}
}

// enable is a write to RegEnable. Locked.
func (d *Device) enable(v uint8) {
	switch {
	case d.faults.EnableStuck:
	case v == 0:
		d.takeDownAll()
	case v == 1 && d.power == off && d.regs.version == Version && !d.closed:
		d.power = on
		d.regs.replies, d.regs.events = 0, 0
		d.regs.receive = [ReceiveSize]byte{}
		d.life = &life{}
		d.life.ctx, d.life.end = context.WithCancel(context.Background())
	case d.power != on:
		d.log.Debug("not enabled", "value", v, "version", d.regs.version, "disabling", d.power == disabling)
	}
}

// setVersion is a write to RegVersion: the driver says the highest version it
// knows and reads the one to use, 0 if there is none. Locked.
func (d *Device) setVersion(v uint16) {
	if d.power != off {
		d.log.Debug("version written while enabled", "value", v)
		return
	}
	d.regs.version = min(v, Version)
}

// reset is a reset of the function. Everything is taken down in the background;
// RegEnable reads 1 until that is done, which drivers wait for.
func (d *Device) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.takeDownAll()
	d.regs = registers{}
}
